"""A JupyterLab, Notebook or Voila of one's own for a test or a benchmark: free port, no token, nothing of the user's settings."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

# No news, no questions: a dialogue over the notebook would take the keyboard.
SETTINGS = {
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
}
OPEN = (
    "--allow-root",
    "--ip=127.0.0.1",
    "--IdentityProvider.token=",
    "--ServerApp.password=",
    "--ServerApp.disable_check_xsrf=True",  # for `end_kernels`, which is no page with a cookie
)
ATTEMPTS, ATTEMPT_S = 600, 0.1  # a minute, on a machine that is busy with other tests
READY = re.compile(r"http://(?:127\.0\.0\.1|localhost)(:\d+)/")


def write_notebook(path: Path, *cells: str) -> None:
    """Write a notebook of code cells."""
    notebook = {
        "cells": [
            {
                "cell_type": "code",
                "id": f"cell-{i}",
                "metadata": {},
                "outputs": [],
                "execution_count": None,
                "source": text,
            }
            for i, text in enumerate(cells)
        ],
        "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path.write_text(json.dumps(notebook), encoding="utf-8")


@contextmanager
def jupyterlab(notebooks: Path, private: Path, theme: str = "JupyterLab Light") -> Iterator[str]:
    """Run a JupyterLab over a folder of notebooks.

    Parameters
    ----------
    notebooks : Path
        What it shows.
    private : Path
        Folder for its settings, logs and run-time files.
    theme : str
        Name of the theme.

    Yields
    ------
    str
        Address, without a slash at the end.
    """
    folders = _settings(private, theme)
    options = [*OPEN, f"--ServerApp.root_dir={notebooks}", *folders]
    with _running("jupyterlab", options, private, notebooks) as address:
        yield address


@contextmanager
def notebook7(notebooks: Path, private: Path, theme: str = "JupyterLab Light") -> Iterator[str]:
    """Run a Jupyter Notebook 7 over a folder of notebooks; parameters and address as `jupyterlab`."""
    folders = _settings(private, theme)
    options = [*OPEN, f"--ServerApp.root_dir={notebooks}", *folders]
    with _running("notebook", options, private, notebooks) as address:
        yield address


@contextmanager
def voila(notebook: Path, private: Path, theme: str = "light") -> Iterator[str]:
    """Run Voila on one notebook, whose page is the address itself; otherwise as `jupyterlab`."""
    with _running(
        "voila", [str(notebook), "--Voila.ip=127.0.0.1", f"--theme={theme}"], private, notebook.parent
    ) as address:
        yield address


def _settings(private: Path, theme: str) -> list[str]:
    """Write the settings of the page; return the options that say where they are."""
    for name, value in (SETTINGS | {"@jupyterlab/apputils-extension/themes": {"theme": theme}}).items():
        file = private / "settings" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(value), encoding="utf-8")
    return [
        f"--LabApp.user_settings_dir={private / 'settings'}",
        f"--LabApp.workspaces_dir={private / 'workspaces'}",
    ]


@contextmanager
def _running(program: str, options: Sequence[str], private: Path, folder: Path) -> Iterator[str]:
    """Run a server until the block ends; yield its address."""
    command = [sys.executable, "-m", program, "--no-browser", f"--port={_free_port()}", *options]
    environment = os.environ | {
        "JUPYTER_CONFIG_DIR": str(private / "config"),
        "JUPYTER_RUNTIME_DIR": str(private / "runtime"),
        "JUPYTER_DATA_DIR": str(private / "data"),
        "IPYTHONDIR": str(private / "ipython"),
    }
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=folder
    ) as server:
        log = _Log(server, private / "server.log")
        try:
            address = log.address()
            _wait_listening(server, address)
            yield address
        finally:
            server.terminate()
            log.join()


def end_kernels(address: str) -> None:
    """Shut down all kernels of a server: each takes half a gigabyte until the server ends."""
    with urllib.request.urlopen(f"{address}/api/kernels") as answer:
        kernels = json.load(answer)
    for kernel in kernels:
        with contextlib.suppress(urllib.error.HTTPError):  # gone by itself
            urllib.request.urlopen(
                urllib.request.Request(f"{address}/api/kernels/{kernel['id']}", method="DELETE")
            ).close()


class _Log(threading.Thread):
    """Keep the server's log in a file: an unread pipe would stop the server when it is full."""

    def __init__(self, server: subprocess.Popen[str], file: Path) -> None:
        super().__init__(daemon=True)
        self._stream, self._file = server.stderr, file
        self._found: queue.Queue[str | None] = queue.Queue()
        self.start()

    def run(self) -> None:
        with self._file.open("w", encoding="utf-8") as file:
            for line in self._stream or ():
                file.write(line)
                if match := READY.search(line):
                    self._found.put(f"http://127.0.0.1{match[1]}")
        self._found.put(None)

    def address(self) -> str:
        """Wait until the server says where it is."""
        found = self._found.get()
        if found is None:
            raise RuntimeError("the server did not start:\n" + self._file.read_text(encoding="utf-8"))
        return found


def _wait_listening(server: subprocess.Popen[str], address: str) -> None:
    """Wait for the port: the server says where it is a moment before it listens there."""
    host, port = address.removeprefix("http://").split(":")
    for _ in range(ATTEMPTS):
        with socket.socket() as client:
            if client.connect_ex((host, int(port))) == 0:
                return
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise RuntimeError(f"the server ended with {server.wait(ATTEMPT_S)}")
    raise RuntimeError(f"nothing listens at {address}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
