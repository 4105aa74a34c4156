"""The machine and the versions that a measured figure belongs to."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

PACKAGES = ("seerlab", "torch", "numpy", "onnxruntime")


def processor_name() -> str:
    """Model name of the processor, as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def machine() -> dict[str, str | int | None]:
    """Processor, number of logical ones, system, and the versions of Python and the packages that do the work.

    Returns
    -------
    dict
        ``processor``, ``logical_processors``, ``system``, ``python``, and one entry per package: its version, or None.
    """
    return {
        "processor": processor_name(),
        "logical_processors": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: package_version(name) for name in PACKAGES},
    }


def package_version(name: str) -> str | None:
    """Version of an installed package, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
