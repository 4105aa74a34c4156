"""What must compile where there is neither an x86-64 processor nor the GNU dialect: the scalar level, as standard C++."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from pathlib import Path

import pytest

from seerlab.kernels import simd

EXT = Path(__file__).resolve().parent.parent / "ext"
SOURCES = sorted(
    [*EXT.glob("*/*_scalar.cpp"), *EXT.glob("encodings/*.cpp"), *EXT.glob("simd/*.cpp")],
    key=lambda path: path.as_posix(),
)
COMPILERS = [name for name in ("g++", "clang++") if shutil.which(name)]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.relative_to(EXT).as_posix())
def test_the_scalar_level_is_standard_cpp(source):
    if not COMPILERS:
        pytest.skip("neither g++ nor clang++ is here")
    shared = [f"-I{EXT / folder}" for folder in (source.parent.name, "compiler", "parallel", "masked_conv")]
    for compiler in COMPILERS:
        checked = subprocess.run(
            [compiler, "-std=c++17", "-fsyntax-only", "-pedantic-errors", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas",
             "-DSEERLAB_STANDARD_CPP", *shared, str(source)],
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        assert checked.returncode == 0, checked.stderr


def test_the_levels_are_those_that_the_system_reports():
    listed = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    flags = {flag for line in listed.splitlines() if line.startswith("flags") for flag in line.split()}
    if not flags:
        pytest.skip("this system does not list the features of an x86-64 processor")
    needed = {
        "scalar": set(),
        "avx2": {"avx", "avx2", "fma", "bmi1", "bmi2", "popcnt"},
        "avx512": {"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni", "avx512_vbmi2"},
    }
    built = simd.LEVELS[: simd._simd.built_level() + 1]
    assert simd.available_levels() == tuple(itertools.takewhile(lambda name: needed[name] <= flags, built))
