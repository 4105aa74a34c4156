"""The command line: ``seerlab lab`` and ``seerlab doctor``."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.resources
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ._version import __version__

SHOWN_PACKAGES = ("torch", "numpy", "anywidget", "ipywidgets", "jupyterlab", "plotly", "onnxruntime", "torchvision")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after ``seerlab``; ``sys.argv`` when not given.

    Returns
    -------
    int
        Exit status.
    """
    parser = argparse.ArgumentParser(
        prog="seerlab", description="See which outputs of a network will be zero before they are computed."
    )
    parser.add_argument("--version", action="version", version=f"seerlab {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    lab = commands.add_parser("lab", help="copy the notebooks to a folder and open JupyterLab on the first")
    lab.add_argument("folder", nargs="?", type=Path, default=Path("seerlab-notebooks"), help="where the notebooks go")
    lab.add_argument("jupyter", nargs=argparse.REMAINDER, help="further words are passed on to JupyterLab")
    commands.add_parser("doctor", help="show the processor, the instruction set chosen, versions and cached weights")
    options = parser.parse_args(arguments)
    return open_lab(options.folder, options.jupyter) if options.command == "lab" else doctor()


def open_lab(folder: Path, jupyter: Sequence[str]) -> int:
    """Copy the notebooks that are not there yet, and start JupyterLab on the first.

    Parameters
    ----------
    folder : Path
        Made if needed. A notebook that is there already is the user's own and is left alone.
    jupyter : sequence of str
        Arguments for JupyterLab.

    Returns
    -------
    int
        JupyterLab's exit status; 1 if it is not installed.
    """
    if importlib.util.find_spec("jupyterlab") is None:
        print("JupyterLab is not installed; run: pip install 'seerlab[lab]'", file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    source = notebook_folder()
    for notebook in sorted(source.glob("*.ipynb")):
        if not (folder / notebook.name).exists():
            shutil.copyfile(notebook, folder / notebook.name)
    first = min(folder.glob("*.ipynb"))
    return subprocess.call([sys.executable, "-m", "jupyterlab", str(first), *jupyter])


def notebook_folder() -> Path:
    """Folder of the guided notebooks: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    installed = package / "notebooks"
    return installed if installed.is_dir() else package.parent / "notebooks"


def doctor() -> int:
    """Print what a report of a problem needs.

    Returns
    -------
    int
        0, or 1 if ``SEERLAB_SIMD`` cannot be obeyed.
    """
    import torch

    from .kernels import simd
    from .networks import describe, list_networks

    print(f"seerlab       {__version__}")
    print(f"python        {platform.python_version()} on {platform.system()} {platform.machine()}")
    print(f"processor     {processor_name()}, {os.cpu_count()} logical, torch uses {torch.get_num_threads()} threads")
    print(f"instructions  available: {', '.join(simd.available_levels())}")
    status = 0
    try:
        forced = " (forced by SEERLAB_SIMD)" if os.environ.get("SEERLAB_SIMD") else " (the best available)"
        print(f"              chosen: {simd.level()}{forced}")
    except ValueError as error:
        print(f"              chosen: none: {error}")
        status = 1
    for name in SHOWN_PACKAGES:
        try:
            print(f"{name:13} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            print(f"{name:13} not installed")
    print(f"data folder   {os.environ.get('SEERLAB_DATA') or 'SEERLAB_DATA is not set'}")
    print(f"weight cache  {Path(torch.hub.get_dir()) / 'checkpoints'}")
    here = [name for name in list_networks() if describe(name).cached]
    print(f"weights here  {', '.join(here) or 'none'}")
    return status


def processor_name() -> str:
    """Model name of the processor, as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
