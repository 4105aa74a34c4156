"""The package as a whole: its public names, the direction of its imports, and what a built wheel holds."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import seerlab as sl

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "seerlab"

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
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
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
    for module in (
        "_simd",
        "_encodings",
        "_input_sparse_conv",
        "_integer_conv",
        "_masked_conv",
        "_max_pool",
        "_output_sparse_conv",
        "_sign_predictor",
        "_srmm",
        "_winograd_conv",
    ):
        assert any(name.startswith(f"seerlab/kernels/{module}.") and name.endswith(".so") for name in held)


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
