"""Objects: streamed, checked, owned, and nothing left of a bad upload."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from funcx_lab_hub_service.objects import Upload

BLOCK = bytes(range(256)) * 4096  # 1 MiB


def name_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def files(data: Path) -> list[Path]:
    return [path for path in (data / "objects").rglob("*") if path.is_file()]


def test_an_object_comes_back(ask: Any, data: Path) -> None:
    content = BLOCK[:300_000]
    path = f"/v3/objects/{name_of(content)}"
    assert ask("HEAD", path).status == 404
    answer = ask("PUT", path, body=content)
    assert (answer.status, answer.document) == (201, {"sha256": name_of(content), "size": len(content)})
    head = ask("HEAD", path)
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(content)))
    assert ask("GET", path).content == content
    assert ask("PUT", path, body=content).status == 201, "the same again is fine"
    assert [file.name for file in files(data)] == [name_of(content)]
    assert files(data)[0].stat().st_mode & 0o077 == 0


def test_an_empty_object(ask: Any) -> None:
    path = f"/v3/objects/{name_of(b'')}"
    assert ask("PUT", path, body=b"", headers={"Content-Length": "0"}).status == 201
    assert ask("GET", path).content == b""


def test_a_wrong_hash_leaves_nothing(ask: Any, data: Path) -> None:
    path = f"/v3/objects/{name_of(b'another')}"
    answer = ask("PUT", path, body=BLOCK * 3)
    assert (answer.status, answer.document["code"]) == (422, "PAYLOAD_HASH_MISMATCH")
    assert ask("HEAD", path).status == 404
    assert files(data) == []


@pytest.mark.parametrize("name", ["x" * 64, "ab", "..%2f..%2fhub.db", "A" * 64])
def test_an_object_is_named_by_its_hash(ask: Any, name: str, data: Path) -> None:
    answer = ask("PUT", f"/v3/objects/{name}", body=b"content")
    assert (answer.status, answer.document["code"]) == (400, "INVALID_REQUEST")
    assert ask("GET", f"/v3/objects/{name}").status == 404
    assert files(data) == []


def test_a_size_must_be_announced(ask: Any, data: Path) -> None:
    chunks: Iterator[bytes] = iter([b"content"])
    answer = ask("PUT", f"/v3/objects/{name_of(b'content')}", body=chunks)
    assert (answer.status, answer.document["code"]) == (400, "INVALID_REQUEST")
    assert files(data) == []


def test_an_object_over_the_limit_is_refused(start: Callable[..., Any], data: Path, client_for: Any) -> None:
    hub = start(data=data / "small", object_limit=1000)
    client = client_for(hub.token)
    client.url = hub.url
    answer = client("PUT", f"/v3/objects/{name_of(BLOCK)}", body=BLOCK)
    assert (answer.status, answer.document["code"]) == (413, "TASK_PAYLOAD_TOO_LARGE")
    assert answer.document["details"] == {"size": len(BLOCK), "limit": 1000}


def test_a_truncated_upload_leaves_nothing(hub: Any, data: Path) -> None:
    host, _, port = hub.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            f"PUT /v3/objects/{name_of(BLOCK)} HTTP/1.1\r\nHost: {host}:{port}\r\n"
            f"Authorization: Bearer {hub.token}\r\nContent-Length: {len(BLOCK) * 4}\r\n\r\n".encode()
        )
        connection.sendall(BLOCK + BLOCK)
        wait_until(lambda: len(files(data)) == 1)
    wait_until(lambda: files(data) == [])


def test_a_truncated_upload_of_an_earlier_life_is_removed(start: Callable[..., Any], data: Path) -> None:
    start().stop()
    left = data / "objects" / "unfinished" / "left"
    left.write_bytes(b"half")
    start()
    assert not left.exists()


def test_a_full_disk_is_told(ask: Any, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Upload, chunk: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("funcx_lab_hub_service.objects.os.fsync", lambda _descriptor: full(None, b""))  # type: ignore[arg-type]  # never used
    answer = ask("PUT", f"/v3/objects/{name_of(BLOCK)}", body=BLOCK)
    assert (answer.status, answer.document["code"]) == (503, "STORAGE_FULL")
    wait_until(lambda: files(data) == [])


def test_a_disk_that_fills_on_the_way_is_told(ask: Any, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from funcx_lab.errors import StorageFull

    def full(self: Upload, chunk: bytes) -> None:
        raise StorageFull

    monkeypatch.setattr(Upload, "write", full)
    answer = ask("PUT", f"/v3/objects/{name_of(BLOCK * 5)}", body=BLOCK * 5)
    assert (answer.status, answer.document["code"]) == (503, "STORAGE_FULL")
    wait_until(lambda: files(data) == [])


def test_an_object_is_its_owners(hub: Any, ask: Any, client_for: Callable[..., Any]) -> None:
    path = f"/v3/objects/{name_of(b'secret')}"
    ask("PUT", path, body=b"secret")
    other = client_for(hub.new_token("bob"))
    assert other("HEAD", path).status == 404, "a hash is not a right to read"
    assert other("GET", path).document["code"] == "OBJECT_NOT_FOUND"
    assert other("PUT", path, body=b"secret").status == 201
    assert other("GET", path).content == b"secret"


def wait_until(claim: Callable[[], bool], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.01)
