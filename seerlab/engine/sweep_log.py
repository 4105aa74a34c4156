"""The file of a sweep: one JSON line per finished task, so that a sweep which was stopped goes on from there.

The first line says what the file is about. Every other line is written whole, by one call, when its task is finished: a process killed
meanwhile leaves at most a last line without its end, which the next one takes away. Each line carries a check of its own.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from .sweep_methods import Figures
from .sweep_tasks import Task, digest_of_text

FORMAT = 1
SUFFIX = ".jsonl"
CHECK_DIGITS = 16  # of SHA-256: against damage, not against malice


class SweepLog:
    """Figures of finished tasks in a file. A context manager: the file is locked inside.

    Parameters
    ----------
    path : str or path-like
        Ends in ``.jsonl``; made if it is not there.
    subject : dict of str to str
        What every task of the sweep has in common. A file with another one is refused.

    Attributes
    ----------
    path : pathlib.Path
    done : dict of str to dict
        Figures by key of task.

    Raises
    ------
    ValueError
        For another suffix; inside the context for a file of another sweep, a damaged one, or one that is no sweep's.
    FileNotFoundError
        If the folder does not exist.
    """

    def __init__(self, path: str | os.PathLike[str], subject: dict[str, str]) -> None:
        self.path = Path(path).expanduser()
        if self.path.suffix != SUFFIX:
            raise ValueError(
                f"the file of a sweep ends in {SUFFIX}, not in {self.path.suffix!r} ({self.path.name}): it grows line by line; "
                "write the finished table with table.to_csv or table.to_parquet"
            )
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {self.path.parent} for {self.path.name}: make it first")
        self.done: dict[str, Figures] = {}
        self._header = {"seerlab_sweep": FORMAT, **subject}
        self._file = -1
        self._lock = FileLock(self.path.with_name(self.path.name + ".lock"))

    def __enter__(self) -> SweepLog:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(f"another sweep is writing to {self.path}: wait for it, or choose another path") from None
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
            try:
                self._read()
            except BaseException:
                os.close(self._file)
                raise
        except BaseException:
            self._unlock()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)
        self._unlock()

    def append(self, task: Task, figures: Figures) -> None:
        """Write the figures of one finished task.

        Raises
        ------
        OSError
            If the disk is full or the file cannot be written.
        """
        entry = {"key": task.key, "task": str(task), "figures": figures}
        self._write({**entry, "check": _check(entry)})
        self.done[task.key] = figures

    def _unlock(self) -> None:
        with suppress(OSError):  # Windows removes no open file, and does so by itself afterwards
            Path(self._lock.lock_file).unlink()  # while it is held: whoever waits notices, and makes a new one
        self._lock.release()

    def _write(self, content: dict[str, Any]) -> None:
        line = json.dumps(content).encode() + b"\n"
        written = os.write(self._file, line)
        if written != len(line):
            raise OSError(f"only {written} of {len(line)} bytes could be written to {self.path}: the disk may be full")

    def _read(self) -> None:
        """Take over what is there; drop a last line that was cut short."""
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        lines = whole.split(b"\n")[:-1]
        header = json.dumps(self._header).encode()
        if lines:
            self._compare(lines[0])
        elif not header.startswith(content):  # a header that was cut short is ours; anything else is not
            raise ValueError(f"{self.path} is no file of a sweep: choose another path")
        os.ftruncate(self._file, len(whole))
        if not lines:
            self._write(self._header)
        for number, line in enumerate(lines[1:], 2):
            try:
                entry = json.loads(line)
                check = entry.pop("check")
                self.done[entry["key"]] = entry["figures"]
                damaged = check != _check(entry)
            except (ValueError, KeyError, TypeError, AttributeError):
                damaged = True
            if damaged:
                raise ValueError(
                    f"line {number} of {self.path} is damaged: delete that line and run again (its figures are computed anew), "
                    "or choose another path"
                )

    def _compare(self, line: bytes) -> None:
        try:
            found = json.loads(line)
            version = found["seerlab_sweep"]
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{self.path} is no file of a sweep: choose another path") from None
        if version != FORMAT:
            raise ValueError(
                f"{self.path} has format {version}, this version reads {FORMAT}: choose another path, or delete it"
            )
        other = [key for key in self._header if found.get(key) != self._header[key]]
        if other:
            texts = ", ".join(f"{key} {_short(found.get(key))} instead of {_short(self._header[key])}" for key in other)
            raise ValueError(f"{self.path} belongs to another sweep ({texts}): choose another path, or delete the file")


def _check(entry: dict[str, Any]) -> str:
    return digest_of_text(json.dumps(entry, sort_keys=True))[:CHECK_DIGITS]


def _short(value: Any) -> str:
    """A digest is told apart by its first digits."""
    text = str(value)
    return text if len(text) <= CHECK_DIGITS else f"{text[:8]}..."
