"""Fetch a published file once: resumable, checked, and safe when two processes want it together.

The file arrives under FILE.part, while FILE.lock is held, and gets its name only after its hash was checked. Whatever
interrupts the download leaves FILE.part alone, and the next call goes on from there.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import re
import sys
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

CHUNK_BYTES = 1 << 18  # large enough to be fast, small enough that the bar moves on a slow line
TIMEOUT_SECONDS = 30.0  # without a byte; a stalled line should end with a sentence, not hang a notebook


class _RestartNeeded(Exception):
    """The server will not continue the part that we have."""


def fetch(url: str, sha256: str | None, target: Path) -> Path:
    """Download a file unless it is there already.

    Parameters
    ----------
    url : str
        Where the file is published, http or https.
    sha256 : str or None
        First hexadecimal digits of the hash of the whole file; None when nobody published one.
    target : pathlib.Path
        Where it goes. Its folder is made.

    Returns
    -------
    pathlib.Path
        `target`.

    Raises
    ------
    ConnectionError
        When the server cannot be reached, has no such file, or the line breaks; the part that arrived is kept.
    OSError
        When the file cannot be written, for example on a full disk; the part that was written is kept.
    ValueError
        When the file that arrived has another hash (it is removed), or `url` is not http or https.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"cannot download {url!r}: give an http or https address")
    if target.exists():
        return target
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(error, target.parent) from error
    with _locked(target):
        if target.exists():  # another process finished it while this one waited for the lock
            return target
        with _appended(part) as file:
            resumed = os.fstat(file.fileno()).st_size > 0
            try:
                _receive(url, file, target)
                if resumed and not hash_matches(part, sha256):
                    raise _RestartNeeded
            except _RestartNeeded:
                file.truncate(0)
                _receive(url, file, target)
        if not hash_matches(part, sha256):
            found = file_hash(part)
            part.unlink()
            raise ValueError(
                f"{url} arrived with SHA-256 {found[:16]}..., expected {sha256}...: the file was removed; try again, "
                f"and if that does not help put the file at {target} by hand"
            )
        part.replace(target)
    return target


def hash_matches(path: Path, sha256: str | None) -> bool:
    """Tell whether a file's SHA-256 begins with these digits; True where there are none to compare with."""
    return sha256 is None or file_hash(path).startswith(sha256.lower())


def file_hash(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Keep every other process and thread from fetching the same file."""
    name = target.with_name(target.name + ".lock")
    lock = FileLock(name)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _tell(f"waiting for another process that is downloading {target.name}")
        lock.acquire()
    except OSError as error:
        raise _unwritable(error, target) from error
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes no open file, and does so by itself afterwards
            name.unlink()  # while it is held: whoever waits for it finds that it has no name any more, and makes a new one
        lock.release()


@contextmanager
def _appended(part: Path) -> Iterator[IO[bytes]]:
    """Open the part for appending; it is closed before it is renamed, as Windows wants it."""
    try:
        file = part.open("ab", buffering=0)
    except OSError as error:
        raise _unwritable(error, part) from error
    try:
        with file:
            yield file
    finally:
        if part.stat().st_size == 0:
            part.unlink()  # nothing arrived: leave nothing behind


def _receive(url: str, file: IO[bytes], target: Path) -> None:
    """Append to `file` what it lacks of the document at `url`."""
    have = os.fstat(file.fileno()).st_size
    with _opened(url, have, target) as response:
        if have and response.status != http.HTTPStatus.PARTIAL_CONTENT:
            file.truncate(0)  # a server without ranges sends the whole document again
            have = 0
        elif have and _range_start(response) != have:
            raise _RestartNeeded
        announced = response.headers.get("Content-Length")
        total = None if announced is None else have + int(announced)
        with _progress_bar(target.name, have, total) as bar:
            while chunk := _read(response, url, have, target):
                _write(file, chunk)
                have += len(chunk)
                bar.update(len(chunk))
        if total is not None and have < total:
            raise ConnectionError(_broken(url, f"the line closed after {have} of {total} bytes", have, target))


@contextmanager
def _opened(url: str, have: int, target: Path) -> Iterator[http.client.HTTPResponse]:
    """Ask for the document from byte `have` on."""
    headers = {"User-Agent": "seerlab", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            raise _RestartNeeded from error
        raise ConnectionError(_broken(url, f"the server answered {error.code} {error.reason}", have, target)) from error
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise ConnectionError(_broken(url, str(reason) or type(reason).__name__, have, target)) from error
    with response:
        yield response


def _read(response: http.client.HTTPResponse, url: str, have: int, target: Path) -> bytes:
    try:
        return response.read(CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionError(_broken(url, str(error) or type(error).__name__, have, target)) from error


def _write(file: IO[bytes], chunk: bytes) -> None:
    """Write all of a chunk: an unbuffered file may take only a part of it."""
    rest = memoryview(chunk)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise _unwritable(error, Path(file.name)) from error


def _range_start(response: http.client.HTTPResponse) -> int | None:
    """Return the first byte that a partial answer says it holds."""
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _broken(url: str, reason: str, have: int, target: Path) -> str:
    kept = f" {have} bytes are kept and the next call goes on from there." if have else ""
    return (
        f"could not download {url}: {reason}.{kept} Without a network, put the file at {target} by hand, or into the "
        "folder weights of the folder that SEERLAB_DATA names, or ask for random weights by weights=None"
    )


def _unwritable(error: OSError, path: Path) -> OSError:
    """Say which folder cannot take the file; the kind of error and its number stay."""
    advice = "make room there" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "make it writable"
    text = f"cannot write {path} ({error.strerror}): {advice}, or set TORCH_HOME to another folder"
    return type(error)(error.errno, text)


def _progress_bar(name: str, have: int, total: int | None) -> Any:
    """Return a bar in bytes: a widget in a notebook that can show one, else text on the error output."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without ipywidgets tqdm warns, and then shows text as we want it to
        from tqdm.auto import tqdm
    return tqdm(desc=name, initial=have, total=total, unit="B", unit_scale=True, unit_divisor=1024)


def _tell(text: str) -> None:
    sys.stderr.write(f"seerlab: {text}\n")
