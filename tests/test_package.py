"""The package as a whole: its public names, the direction of its imports, and what a built wheel holds."""

from __future__ import annotations

import ast
import email
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
import yaml

import seerlab as sl

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "seerlab"
# The build looks for meson, ninja and cython by name.
BUILD_ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

# What each part may import of the others (widgets -> engine -> fast -> methods -> layers -> kernels; networks and measure are leaves).
METHODS = {"drfmp", "encodings", "regularity", "scnn", "seernet", "spl"}
SHARED_BY_METHODS = {"evaluation", "kernels", "layers", "masks", "operators", "predicted"}
ALLOWED = {
    "kernels": set(),
    "operators": set(),
    "networks": set(),
    "measure": set(),
    "evaluation": {"measure", "operators"},
    "layers": {"operators"},
    "masks": {"layers"},
    "predicted": {"layers", "masks", "operators"},
    **dict.fromkeys(METHODS, SHARED_BY_METHODS),
    "exercises": {*METHODS, *SHARED_BY_METHODS},
    "fast": {*METHODS, *SHARED_BY_METHODS, "measure"},
    "engine": {*METHODS, "fast", *SHARED_BY_METHODS, "networks", "measure"},
    "widgets": {*METHODS, "engine", "evaluation", "layers", "networks", "measure", "operators"},
    "course": set(),
    "cli": {"course", "engine", "fast", "kernels", "measure", "networks"},
}


def test_every_public_name_is_there_and_listed():
    for name in sl.__all__:
        assert getattr(sl, name) is not None
    assert set(sl.__all__) <= set(dir(sl))
    with pytest.raises(AttributeError, match="no attribute 'seernett'; it has"):
        sl.seernett  # noqa: B018


def test_importing_the_package_imports_neither_torch_nor_widgets():
    code = (
        "import sys, seerlab; print([m for m in ('torch', 'ipywidgets', 'plotly', 'jupyterlab') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def imported_parts(path: Path):
    """Top-level parts of seerlab that a module imports, at run time or for its types."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            full = [*base, *(node.module.split(".") if node.module else [])]
            for alias in node.names:
                parts = [*full, alias.name]
                if parts[0] == "seerlab" and len(parts) > 1:
                    yield parts[1]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                if parts[0] == "seerlab" and len(parts) > 1:
                    yield parts[1]


def test_imports_point_one_way():
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        part = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if part.startswith("_"):
            continue
        for other in imported_parts(path):
            if other != part and not other.startswith("_") and other not in ALLOWED[part]:
                wrong.append(f"{path.relative_to(ROOT)} imports {other}")
    assert not wrong


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from this tree, as a user's pip would."""
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-build-isolation", "--no-deps",
         "--wheel-dir", str(out), str(ROOT)],
        check=True,
        env=BUILD_ENVIRONMENT,
    )  # fmt: skip
    return next(out.glob("*.whl"))


def test_the_wheel_holds_every_module_and_data_file(wheel):
    held = set(zipfile.ZipFile(wheel).namelist())
    kept = {
        "": ("*.py", "*.pyi", "py.typed"),
        "widgets/static": ("*.js", "*.css"),
        "networks": ("*.txt", "*.safetensors"),
    }
    expected = {
        path.relative_to(ROOT).as_posix()
        for folder, patterns in kept.items()
        for pattern in patterns
        for path in (PACKAGE / folder).rglob(pattern)
    }
    notebooks = [*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "notebooks" / "source").glob("*.py")]
    expected |= {f"seerlab/{path.relative_to(ROOT).as_posix()}" for path in notebooks}
    assert len(expected) > 20
    assert not expected - held
    compiled = {path.stem for path in (ROOT / "ext").glob("*/_*.pyx")}
    assert len(compiled) > 5
    for module in compiled:
        assert any(f"seerlab/kernels/{module}{suffix}" in held for suffix in EXTENSION_SUFFIXES)


def test_the_wheel_says_what_it_needs_and_whose_it_is(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = {Path(name).name: name for name in archive.namelist() if ".dist-info/" in name}
        metadata = email.message_from_bytes(archive.read(held["METADATA"]))
        commands = archive.read(held["entry_points.txt"]).decode()
    assert metadata["Version"] == sl.__version__
    assert "LICENSE" in held
    assert "seerlab=seerlab.cli:main" in commands.replace(" ", "")
    needed = {re.split(r"[<>=!~ ;\[]", line, maxsplit=1)[0].lower() for line in metadata.get_all("Requires-Dist")}
    imported = {
        name.split(".")[0]
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
    }
    # Distributions whose modules have another name; and what comes with torch or is looked for and not needed.
    modules = {"pil": "pillow", "skimage": "scikit-image", "sklearn": "scikit-learn"}
    foreign = {modules.get(name.lower(), name.lower()) for name in imported - set(sys.stdlib_module_names)}
    assert foreign - needed - {"", "seerlab", "traitlets", "cloudpickle", "dask"} == set()


def test_nothing_in_the_wheel_names_the_machine_that_built_it(wheel):
    with zipfile.ZipFile(wheel) as archive:
        naming = [
            (name, folder)
            for name in archive.namelist()
            for folder in {str(ROOT), sys.prefix, tempfile.gettempdir() + os.sep}
            if folder.encode() in archive.read(name)
        ]
    assert not naming


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The source distribution of the last commit."""
    if not (ROOT / ".git").exists():
        pytest.skip("the sources are no checkout, of which alone a source distribution can be made")
    out = tmp_path_factory.mktemp("sdist")
    subprocess.run(
        [sys.executable, "-c", f"import mesonpy; mesonpy.build_sdist({str(out)!r})"],
        check=True,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        env=BUILD_ENVIRONMENT,
    )
    return next(out.glob("*.tar.gz"))


def test_the_sdist_holds_what_a_build_and_its_tests_need(sdist):
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    tracked = subprocess.check_output(["git", "ls-tree", "-r", "--name-only", "HEAD"], cwd=ROOT, text=True).split("\n")
    assert not set(filter(None, tracked)) - held
    assert {"PKG-INFO", "pyproject.toml", "meson.build", "LICENSE", "CITATION.cff", "CHANGELOG.md"} <= held
    strays = {"build", "_build", "generated", ".venv", "__pycache__"}
    assert not [name for name in held if strays & set(Path(name).parts) or Path(name).suffix in (".so", ".pyc")]


def test_the_five_papers_are_to_be_cited():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == sl.__version__
    modules = [re.findall(r"seerlab\.(\w+)", paper["notes"]) for paper in citation["references"]]
    assert sorted(name for names in modules for name in names) == sorted(METHODS)
    for paper in citation["references"]:
        assert paper["authors"]
        assert ("doi" in paper) != ("arxiv.org" in paper.get("url", ""))


def test_the_changelog_begins_with_this_version_or_what_will_follow_it():
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] in ("Unreleased", sl.__version__)


def test_the_wheel_works_where_it_is_unpacked(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        # The editable install of this environment must not answer in the wheel's place.
        "import sys; sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in type(f).__module__]; "
        f"sys.path.insert(0, {str(tmp_path)!r}); "
        "import seerlab as sl; "
        f"assert sl.__file__.startswith({str(tmp_path)!r}), sl.__file__; "
        "net = sl.load('vgg9_cifar10'); "
        "layers = sl.conv_layers(net.model, net.preprocess(sl.sample_images()['cat'])); "
        "print(sl.seernet.predict(layers['features.7']).summary()['outputs'])"
    )
    got = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=tmp_path)
    assert got.strip() == str(96 * 112 * 112)
