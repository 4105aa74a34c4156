"""Downloads: whole, resumed, broken, wrong, refused, and two at once."""

from __future__ import annotations

import hashlib
import resource
import socket
import threading

import pytest

from seerlab.networks import download
from seerlab.networks.download import fetch

BODY = bytes(range(256)) * 4096  # 1 MB: several chunks
DIGEST = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "weights.pth"


@pytest.fixture
def part(target):
    target.parent.mkdir()
    return target.with_name("weights.pth.part")


def test_file_arrives_whole_and_leaves_no_part(server, target, capsys):
    server.body = BODY
    assert fetch(server.url("weights.pth"), DIGEST[:8], target) == target
    assert target.read_bytes() == BODY
    assert [path.name for path in target.parent.iterdir()] == ["weights.pth"]
    assert "weights.pth: 100%" in capsys.readouterr().err


def test_file_that_is_there_is_not_asked_for_again(server, target):
    server.body = BODY
    fetch(server.url("weights.pth"), DIGEST[:8], target)
    fetch(server.url("weights.pth"), DIGEST[:8], target)
    assert server.requests == [None]


@pytest.mark.parametrize("ranges", [True, False])
def test_interrupted_download_goes_on_or_starts_again(server, target, ranges):
    server.body, server.cut, server.ranges = BODY, 300_000, ranges
    with pytest.raises(ConnectionError, match=r"closed after 300000 of 1048576 bytes\. 300000 bytes are kept"):
        fetch(server.url("weights.pth"), DIGEST, target)
    assert not target.exists()
    assert target.with_name("weights.pth.part").read_bytes() == BODY[:300_000]
    server.cut = None
    fetch(server.url("weights.pth"), DIGEST, target)
    assert target.read_bytes() == BODY
    assert server.requests == [None, "bytes=300000-"]


def test_part_of_another_file_is_replaced(server, target, part):
    server.body = BODY
    part.write_bytes(b"something else")
    fetch(server.url("weights.pth"), DIGEST, target)
    assert target.read_bytes() == BODY
    assert server.requests == ["bytes=14-", None]


@pytest.mark.parametrize("surplus", [b"", b"more"])
def test_part_that_has_nothing_left_to_fetch_still_ends_well(server, target, part, surplus):
    server.body = BODY
    part.write_bytes(BODY + surplus)
    fetch(server.url("weights.pth"), DIGEST, target)
    assert target.read_bytes() == BODY


def test_body_of_unannounced_length_is_taken_and_checked(server, target):
    server.body, server.announce = BODY, False
    fetch(server.url("weights.pth"), DIGEST, target)
    assert target.read_bytes() == BODY


def test_wrong_hash_removes_the_file_and_says_what_to_do(server, target):
    server.body = BODY[::-1]
    with pytest.raises(ValueError, match=rf"expected {DIGEST[:8]}\.\.\.: the file was removed; try again") as caught:
        fetch(server.url("weights.pth"), DIGEST[:8], target)
    assert str(target) in str(caught.value)
    assert list(target.parent.iterdir()) == []


def test_absent_hash_is_not_compared(server, target):
    server.body = BODY
    assert fetch(server.url("weights.pth"), None, target).read_bytes() == BODY


@pytest.mark.parametrize("status", [404, 403, 500])
def test_error_of_the_server_is_one_sentence(server, target, status):
    server.status = status
    with pytest.raises(ConnectionError, match=rf"the server answered {status}") as caught:
        fetch(server.url("weights.pth"), DIGEST, target)
    message = str(caught.value)
    assert server.url("weights.pth") in message
    assert str(target) in message
    assert "SEERLAB_DATA" in message
    assert "weights=None" in message
    assert list(target.parent.iterdir()) == []


def test_error_of_the_server_keeps_what_had_arrived(server, target, part):
    part.write_bytes(BODY[:1000])
    server.status = 503
    with pytest.raises(ConnectionError, match="1000 bytes are kept"):
        fetch(server.url("weights.pth"), DIGEST, target)
    assert part.read_bytes() == BODY[:1000]


def test_refused_connection_is_one_sentence(target):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/weights.pth"
        with pytest.raises(ConnectionError, match=r"could not download http://127\.0\.0\.1.*refused.*weights=None"):
            fetch(url, DIGEST, target)
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("url", ["ftp://host/file.pth", "file:///etc/passwd", "weights.pth"])
def test_other_kinds_of_addresses_are_refused(url, target):
    with pytest.raises(ValueError, match="give an http or https address"):
        fetch(url, None, target)


def test_full_disk_keeps_the_part_and_is_resumed(server, target):
    server.body = BODY
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))
    try:
        with pytest.raises(OSError, match=r"cannot write .*weights\.pth\.part .*set TORCH_HOME"):
            fetch(server.url("weights.pth"), DIGEST, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not target.exists()
    assert target.with_name("weights.pth.part").read_bytes() == BODY[:500_000]
    fetch(server.url("weights.pth"), DIGEST, target)
    assert target.read_bytes() == BODY


def test_folder_that_cannot_be_made_is_named(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"cannot write .*file.*set TORCH_HOME to another folder"):
        fetch(server.url("weights.pth"), DIGEST, tmp_path / "file" / "weights.pth")


def test_two_at_once_download_once(server, target, monkeypatch):
    server.body = BODY
    server.hold.clear()
    waiting = threading.Event()
    monkeypatch.setattr(download, "_tell", lambda _: waiting.set())
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(fetch(server.url("weights.pth"), DIGEST, target).read_bytes()))
        for _ in range(2)
    ]
    threads[0].start()
    assert server.asked.wait(30)
    threads[1].start()
    assert waiting.wait(30)
    server.hold.set()
    for thread in threads:
        thread.join()
    assert found == [BODY, BODY]
    assert server.requests == [None]
    assert [path.name for path in target.parent.iterdir()] == ["weights.pth"]


def test_the_second_takes_over_when_the_first_fails(server, target, monkeypatch):
    server.body, server.cut = BODY, 400_000
    server.hold.clear()
    waiting = threading.Event()
    monkeypatch.setattr(download, "_tell", lambda _: waiting.set())
    describe_failure = download._broken

    def repair_the_server_and_describe_failure(*arguments):
        server.cut = None
        return describe_failure(*arguments)

    monkeypatch.setattr(download, "_broken", repair_the_server_and_describe_failure)
    outcomes = []

    def run():
        try:
            fetch(server.url("weights.pth"), DIGEST, target)
            outcomes.append("whole")
        except ConnectionError:
            outcomes.append("broken")

    threads = [threading.Thread(target=run) for _ in range(2)]
    threads[0].start()
    assert server.asked.wait(30)
    threads[1].start()
    assert waiting.wait(30)
    server.hold.set()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["broken", "whole"]
    assert server.requests == [None, "bytes=400000-"]
    assert target.read_bytes() == BODY
