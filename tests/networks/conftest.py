"""Small servers, small networks and small weights, so that no test needs a network connection."""

from __future__ import annotations

import hashlib
import http.server
import re
import threading
from types import MappingProxyType

import pytest
import torch
from torch import nn

from seerlab.networks import registry
from seerlab.networks.preprocessing import Preprocessing
from seerlab.networks.registry import Entry, PublishedWeights


class FileServer:
    """Serves one body on 127.0.0.1 and does to it what the test says.

    ``ranges`` False ignores Range; ``cut`` closes the line after that many bytes of the answer; ``status`` answers an error;
    ``announce`` False leaves Content-Length out. ``hold`` is waited for before the body is sent, after ``asked`` was set.
    """

    def __init__(self) -> None:
        self.body = b""
        self.ranges = True
        self.cut: int | None = None
        self.status: int | None = None
        self.announce = True
        self.requests: list[str | None] = []
        self.asked = threading.Event()
        self.hold = threading.Event()
        self.hold.set()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        self.requests.append(wanted)
        self.asked.set()
        assert self.hold.wait(30)
        if self.status is not None:
            handler.send_error(self.status)
            return
        start = 0
        if wanted and self.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= len(self.body):
                handler.send_response(416)
                handler.send_header("Content-Range", f"bytes */{len(self.body)}")
                handler.send_header("Content-Length", "0")
                handler.end_headers()
                return
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{len(self.body) - 1}/{len(self.body)}")
        else:
            handler.send_response(200)
        content = self.body[start:]
        if self.announce:
            handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content if self.cut is None else content[: self.cut])

    def url(self, file: str) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/{file}"

    def close(self) -> None:
        self.hold.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def server():
    file_server = FileServer()
    yield file_server
    file_server.close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """The tests' servers are on this machine whatever the machine's proxies are."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty torch cache and no folder of data; the path of the folder that downloads go to."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("SEERLAB_DATA", raising=False)
    return tmp_path / "torch" / "hub" / "checkpoints"


class Small(nn.Module):
    """One of everything that a state dict can hold."""

    def __init__(self, num_classes: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.relu(self.bn(self.conv(x))).mean((2, 3)))


@pytest.fixture
def small_state():
    """Weights of the small network that differ from those of any fresh one."""
    state = Small().state_dict()
    return {key: torch.randn_like(value) if value.is_floating_point() else value for key, value in state.items()}


@pytest.fixture
def register(monkeypatch):
    """Put the small network into the registry, with published weights at an address if one is given."""

    def add(url: str | None = None, content: bytes = b"", name: str = "small") -> Entry:
        weights = None
        if url is not None:
            weights = PublishedWeights("SMALL_V1", url, hashlib.sha256(content).hexdigest()[:8], 0.1, "CC0-1.0", 0.5)
        entry = Entry(Small, 8, Preprocessing(resize=10, crop=8), lambda: ("ant", "bee", "cat"), weights)
        monkeypatch.setattr(registry, "REGISTRY", MappingProxyType({**registry.REGISTRY, name: entry}))
        return entry

    return add
