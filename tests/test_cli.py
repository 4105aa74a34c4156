"""The command line."""

from __future__ import annotations

import sys

import pytest

from seerlab import __version__, cli
from seerlab.kernels import simd


def test_doctor_shows_processor_levels_versions_and_weights(capsys, monkeypatch):
    monkeypatch.setenv("SEERLAB_SIMD", "scalar")
    assert cli.main(["doctor"]) == 0
    text = capsys.readouterr().out
    for expected in (
        f"seerlab       {__version__}",
        f"available: {', '.join(simd.available_levels())}",
        "chosen: scalar (forced by SEERLAB_SIMD)",
        "vgg9_cifar10",
    ):
        assert expected in text


def test_doctor_says_when_the_forced_level_cannot_be_had(capsys, monkeypatch):
    monkeypatch.setenv("SEERLAB_SIMD", "neon")
    assert cli.main(["doctor"]) == 1
    assert "unknown instruction set 'neon'; choose one of 'scalar'" in capsys.readouterr().out


def test_lab_copies_the_notebooks_once_and_passes_arguments_on(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(cli.subprocess, "call", lambda command: calls.append(command) or 0)
    folder = tmp_path / "mine"
    assert cli.main(["lab", str(folder), "--no-browser", "--port=8899"]) == 0
    first = min(folder.glob("*.ipynb"))
    assert calls == [[sys.executable, "-m", "jupyterlab", str(first), "--no-browser", "--port=8899"]]
    first.write_text("changed by the user")
    assert cli.main(["lab", str(folder)]) == 0
    assert first.read_text() == "changed by the user"


def test_lab_without_jupyterlab_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cli.importlib.util, "find_spec", lambda _name: None)
    assert cli.main(["lab", str(tmp_path)]) == 1
    assert "pip install 'seerlab[lab]'" in capsys.readouterr().err


def test_unknown_commands_are_refused(capsys):
    with pytest.raises(SystemExit) as status:
        cli.main(["fly"])
    assert status.value.code == 2
    assert "invalid choice: 'fly'" in capsys.readouterr().err
