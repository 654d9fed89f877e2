"""Bodies that are larger than they look: refused, and the service's memory stays where it was."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

ALLOWED = 64 * 1024 * 1024
MIB = 1024 * 1024


@pytest.fixture
def steady(hub: Any) -> Iterator[None]:
    """Watch the service's memory while the test runs."""
    before, stop = hub.rss, threading.Event()
    peaks = [before]

    def watch() -> None:
        while not stop.wait(0.01):
            peaks.append(hub.rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()
    assert max(peaks) - before <= ALLOWED, f"{(max(peaks) - before) / MIB:.0f} MiB more"


def head(hub: Any, method: str, path: str, *lines: str, token: str | None = None) -> bytes:
    """Return the head of a request, with the token of ada or none."""
    sent = [f"{method} {path} HTTP/1.1", f"Host: {hub.url.removeprefix('http://')}", *lines]
    if token is not None:
        sent.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*sent, "", ""]).encode()


def push(hub: Any, begin: bytes, block: bytes, count: int) -> bytes:
    """Send a head and ``count`` blocks for as long as the service takes them; return its answer."""
    with socket.create_connection(hub.address, timeout=20) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(begin)
            for _ in range(count):
                connection.sendall(block)
        answer = b""
        connection.settimeout(2)  # a body that never ends may be waited for
        with contextlib.suppress(ConnectionError, TimeoutError):
            while b"\r\n\r\n" not in answer and (chunk := connection.recv(65536)):
                answer += chunk
    return answer


@pytest.mark.usefixtures("steady")
@pytest.mark.parametrize(
    "path", ["/v3/stream", "/v3/functions", "/healthz", "/v9/none", "/v3/objects/" + "0" * 64]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
@pytest.mark.parametrize("known", [False, True])
def test_hundreds_of_megabytes_for_a_route_that_takes_none(
    hub: Any, method: str, path: str, known: bool
) -> None:
    if known and path.startswith("/v3/objects"):
        method = "POST"  # a PUT of that size is what the route is for
    size = 400 * MIB
    begin = head(
        *(hub, method, path, "Content-Type: application/json", f"Content-Length: {size}"),
        token=hub.tokens["ada"] if known else None,
    )
    answer = push(hub, begin, b"[" * MIB, size // MIB)
    assert not answer.startswith(b"HTTP/1.1 5"), answer


@pytest.mark.usefixtures("steady")
@pytest.mark.parametrize("path", ["/v3/stream", "/v3/functions", "/v3/endpoints/x/enrol"])
def test_chunks_without_end(hub: Any, path: str) -> None:
    begin = head(hub, "POST", path, "Content-Type: application/json", "Transfer-Encoding: chunked")
    answer = push(hub, begin, b"100000\r\n" + bytes(MIB) + b"\r\n", 400)
    assert not answer.startswith(b"HTTP/1.1 2")


@pytest.mark.usefixtures("steady")
def test_a_compressed_body_is_not_unpacked(hub: Any, ada: Any) -> None:
    """1,000 : 1, and what it would unpack to is valid."""
    text = b'{"function_name": "f", "function_code": "' + b"x" * (256 * MIB) + b'"}'
    body = gzip.compress(text, 1)
    assert len(body) < 2 * MIB
    answer = ada("POST", "/v3/functions", body=body, headers={"Content-Encoding": "gzip"})
    assert (answer.status, answer.document["code"]) == (400, "INVALID_REQUEST")


@pytest.mark.usefixtures("steady")
def test_no_compression_on_the_stream(hub: Any) -> None:
    answer = hub.raw(
        head(
            *(
                hub,
                "GET",
                "/v3/stream",
                "Connection: Upgrade",
                "Upgrade: websocket",
                "Sec-WebSocket-Version: 13",
            ),
            *("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Extensions: permessage-deflate"),
            token=hub.tokens["ada"],
        ),
        timeout=2,
    )
    assert answer.startswith(b"HTTP/1.1 101")
    assert b"permessage-deflate" not in answer


@pytest.mark.usefixtures("steady")
@pytest.mark.parametrize("parts", [1, 100_000])
def test_forms_are_not_parsed(ada: Any, parts: int) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\nc\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    for path in ("/v3/functions", "/v3/tasks/cancel", "/v3/endpoints"):
        assert ada("POST", path, body=part * parts + b"--x--", headers=headers).status == 400


@pytest.mark.usefixtures("steady")
@pytest.mark.parametrize("depth", [33, 300, 900, 960, 980, 995, 100_000])
@pytest.mark.parametrize("opening", [("[", "]"), ('{"a":', "}")])
def test_nested_values_are_refused(ada: Any, depth: int, opening: tuple[str, str]) -> None:
    middle = "1" if opening[0] != "[" else ""
    deep = '{"a": ' + opening[0] * depth + middle + opening[1] * depth + "}"
    for path, body in (
        ("/v3/functions", '{"function_name": "f", "function_code": "x", "meta": %s}'),
        ("/v3/endpoints", '{"endpoint_name": "deep", "metadata": %s}'),
    ):
        answer = ada("POST", path, body=(body % deep).encode())
        assert (answer.status, answer.document["code"]) == (400, "INVALID_REQUEST")
        assert ada("GET", path).status == 200


@pytest.mark.parametrize("number", ["1e400", "-1e400", str(2**70), "9" * 4000, "1" + "0" * 300 + ".5"])
def test_numbers_beyond_all_bounds(ada: Any, number: str) -> None:
    body = f'{{"function_name": "f", "function_code": "{number[:9]}", "meta": {{"n": {number}}}}}'
    answer = ada("POST", "/v3/functions", body=body.encode())
    assert answer.status in (200, 400), answer.content
    listed = ada("GET", "/v3/functions")
    assert listed.status == 200
    json.loads(listed.content, parse_constant=pytest.fail)


@pytest.mark.usefixtures("steady")
def test_many_large_bodies_at_once(hub: Any, ada: Any) -> None:
    """Each is below the limit; they are refused after the first byte that is not JSON, or kept one by one."""
    body = base64.b64encode(b"x" * (6 * MIB)).decode()
    statuses: list[int] = []

    def post(number: int) -> None:
        answer = ada(
            "POST", "/v3/functions", {"function_name": f"f{number}", "format": "nothing", "body": body}
        )
        statuses.append(answer.status)

    for number in range(20):
        post(number)
    assert statuses == [400] * 20


@pytest.mark.usefixtures("steady")
def test_heads_without_end(hub: Any) -> None:
    begin = f"GET /healthz HTTP/1.1\r\nHost: {hub.url.removeprefix('http://')}\r\n".encode()
    answer = push(hub, begin, b"X-Filler: " + b"x" * 8000 + b"\r\n", 3000)
    assert not answer.startswith(b"HTTP/1.1 2")


@pytest.mark.usefixtures("steady")
@pytest.mark.parametrize("size", [4 * MIB + 1, 64 * MIB, 2**62])
def test_a_message_over_the_streams_limit(hub: Any, size: int) -> None:
    upgrade = head(
        *(hub, "GET", "/v3/stream", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        token=hub.tokens["ada"],
    )
    with socket.create_connection(hub.address, timeout=10) as connection:
        connection.sendall(upgrade)
        assert connection.recv(12) == b"HTTP/1.1 101"
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"\x82\xff" + size.to_bytes(8, "big") + bytes(4))
            for _ in range(8):
                connection.sendall(bytes(MIB))
            while connection.recv(65536):
                pass


@pytest.mark.usefixtures("steady")
def test_fragments_of_a_message_without_end(ada: Any) -> None:
    def fragments() -> Iterator[bytes]:
        while True:
            yield bytes(256 * 1024)

    with ada.stream() as connection, pytest.raises((ConnectionClosed, ConnectionError)):
        connection.send(fragments())


@pytest.mark.usefixtures("steady")
def test_slow_senders_hold_up_nobody(hub: Any, ada: Any) -> None:
    beginnings = [
        head(hub, "POST", "/v3/functions", "Content-Length: 1000000", token=hub.tokens["eve"]) + b"{",
        head(hub, "PUT", "/v3/objects/" + "1" * 64, "Content-Length: 1000000", token=hub.tokens["eve"])
        + b"{",
        b"GET /healthz HTTP/1.1\r\nHo",
        b"\x16\x03\x01\x02\x00",
        b"",
    ]
    with contextlib.ExitStack() as stack:
        for number in range(300):
            connection = stack.enter_context(socket.create_connection(hub.address, timeout=10))
            connection.sendall(beginnings[number % len(beginnings)])
        slowest = 0.0
        for _ in range(50):
            began = time.monotonic()
            assert ada("GET", "/v3/whoami").status == 200
            slowest = max(slowest, time.monotonic() - began)
    assert slowest < 1.0
