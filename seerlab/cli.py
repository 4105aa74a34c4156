"""The command line: ``seerlab lab``, ``seerlab course``, ``seerlab bench`` and ``seerlab doctor``."""

from __future__ import annotations

import argparse
import importlib.util
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
    teach = commands.add_parser("course", help="write the notebooks for teaching with nbgrader")
    teach.add_argument(
        "folder", type=Path, help="gets source (with solutions), release (without) and nbgrader_config.py"
    )
    teach.add_argument("--release", action="store_true", help="only the notebooks without solutions, side by side")
    commands.add_parser("doctor", help="show the processor, the instruction set chosen, versions and cached weights")
    _add_bench(commands)
    options = parser.parse_args(arguments)
    if options.command == "lab":
        return open_lab(options.folder, options.jupyter)
    if options.command == "course":
        return make_course(options.folder, release=options.release)
    return bench(options) if options.command == "bench" else doctor()


def _add_bench(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", type=Path, metavar="FILE", help="also write everything, with machine and versions")
    shared.add_argument("--threads", type=int, metavar="N", help="as many as torch uses when not given")
    shared.add_argument("--repeats", type=int, default=11, metavar="N", help="timed rounds (default 11)")
    layered = argparse.ArgumentParser(add_help=False)
    layered.add_argument("--layers", nargs="+", metavar="NAME", help="such as 64-64@56")
    layered.add_argument("--density", nargs="+", type=float, metavar="D", help="shares of non-zero inputs, 0 to 1")
    kinds = commands.add_parser("bench", help="measure layers, networks or encodings on this machine").add_subparsers(
        dest="kind", required=True
    )
    layers = kinds.add_parser("layers", parents=[shared, layered], help="every way of computing a convolution")
    layers.add_argument("--methods", nargs="+", metavar="NAME")
    network = kinds.add_parser("network", parents=[shared], help="whole networks")
    network.add_argument("--network", nargs="+", metavar="NAME", help="as seerlab.list_networks() has them")
    network.add_argument("--methods", nargs="+", metavar="NAME")
    kinds.add_parser("encodings", parents=[shared, layered], help="time and bytes of the study encodings")
    roofline = kinds.add_parser(
        "roofline", parents=[shared, layered], help="a picture of layers under this machine's roofs"
    )
    roofline.add_argument("--output", type=Path, default=Path("seerlab-roofline"), metavar="FOLDER")
    kinds.add_parser("calibrate", help="measure what the exact methods cost here, for method='auto'").add_argument(
        "--threads", type=int, metavar="N"
    )


def bench(options: argparse.Namespace) -> int:
    """Measure, print a table, and write the file that was asked for.

    Returns
    -------
    int
        0, or 2 for an unknown name or a number out of range.
    """

    def progress(text: str) -> None:
        print(f"  {text}", file=sys.stderr, flush=True)

    settings = {name: value for name in ("threads", "repeats") if (value := getattr(options, name, None)) is not None}
    densities = getattr(options, "density", None)
    try:
        if options.kind == "calibrate":
            from .fast import calibrate, cost_file

            calibrate(threads=options.threads, progress=progress)
            print(f"written to {cost_file()}")
            return 0
        if options.kind == "network":
            from .engine.bench_network import bench_network

            report = bench_network(options.network, options.methods, **settings, progress=progress)
        elif options.kind == "roofline":
            from .engine.bench_roofline import DENSITY, roofline

            density = densities[0] if densities else DENSITY
            if densities and len(densities) > 1:
                raise ValueError("a roofline shows one density; give a single number")
            report, files = roofline(options.output, options.layers, density, **settings, progress=progress)
        else:
            from .engine.bench_layers import LAYER_DENSITIES, bench_encodings, bench_layers

            chosen = densities or LAYER_DENSITIES
            if options.kind == "layers":
                report = bench_layers(options.layers, chosen, options.methods, **settings, progress=progress)
            else:
                report = bench_encodings(options.layers, chosen, **settings, progress=progress)
    except ValueError as error:
        print(f"seerlab bench: {error}", file=sys.stderr)
        return 2
    print(report.table())
    if options.kind == "roofline":
        print("\n".join(f"written {file}" for file in files))
    if options.json is not None:
        report.save(options.json)
        print(f"written {options.json}")
    return 0


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
    from .course import notebook_folder

    source = notebook_folder()
    for notebook in sorted(source.glob("*.ipynb")):
        if not (folder / notebook.name).exists():
            shutil.copyfile(notebook, folder / notebook.name)
    first = folder / min(notebook.name for notebook in source.glob("*.ipynb"))
    return subprocess.call([sys.executable, "-m", "jupyterlab", str(first), *jupyter])


def make_course(folder: Path, *, release: bool = False) -> int:
    """Write the notebooks for a course.

    Parameters
    ----------
    folder : Path
        Made if needed; notebooks of the same names are overwritten.
    release : bool
        Only what learners get.

    Returns
    -------
    int
        0, or 1 if jupytext is not installed.
    """
    from .course import write_course, write_release

    try:
        written = write_release(folder) if release else write_course(folder)
    except ImportError as error:
        print(f"seerlab course: {error}", file=sys.stderr)
        return 1
    print(f"written {len(written)} files to {folder}")
    return 0


def doctor() -> int:
    """Print what a report of a problem needs.

    Returns
    -------
    int
        0, or 1 if ``SEERLAB_SIMD`` cannot be obeyed.
    """
    import torch

    from .kernels import simd
    from .measure.machine import package_version, processor_name
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
        print(f"{name:13} {package_version(name) or 'not installed'}")
    print(f"data folder   {os.environ.get('SEERLAB_DATA') or 'SEERLAB_DATA is not set'}")
    print(f"weight cache  {Path(torch.hub.get_dir()) / 'checkpoints'}")
    here = [name for name in list_networks() if describe(name).cached]
    print(f"weights here  {', '.join(here) or 'none'}")
    return status
