"""The HTTP port without a token and for pages of other hosts; where our programs send their tokens."""

from __future__ import annotations

import http.server
import itertools
import json
import socket
import subprocess
import sys
import threading
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from funcx_lab.config import Service
from funcx_lab.errors import FuncxLabError, UsageError
from funcx_lab.transport import Transport
from funcx_lab_endpoint.registration import check_address

PATHS: dict[str, Any] = yaml.safe_load(
    (files("funcx_lab_hub_service") / "openapi.yaml").read_text(encoding="utf-8")
)["paths"]
#: what anybody may ask, and all that the answers may say
OPEN = {("GET", "/healthz"): {"status"}, ("GET", "/v2/version"): {"api", "min_sdk_version", "min_ep_version"}}
VERBS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "FOO")
#: what services are asked for when somebody looks around
COMMON = [
    *(
        "/",
        "/metrics",
        "/debug",
        "/docs",
        "/openapi.json",
        "/openapi.yaml",
        "/admin",
        "/status",
        "/api",
        "/graphql",
    ),
    *(
        "/.git/config",
        "/.env",
        "/server-status",
        "/static/",
        "/favicon.ico",
        "/robots.txt",
        "/hub.db",
        "/token",
    ),
    *("/v1/", "/v2/", "/v3/", "/v3", "/v3/tokens", "/v3/users", "/v3/audit", "/v3/backup", "/v2/../healthz"),
    *(
        "/healthz/",
        "/healthz/../v3/tasks",
        "//v3/tasks",
        "/v3//tasks",
        "/v3/tasks/",
        "/v3/tasks;x",
        "/V3/tasks",
    ),
    *("/v3/objects/../../../etc/passwd", "/v3/objects/..%2f..%2fhub.db", "/v3/objects/%00", "/%2e%2e/hub.db"),
]


def filled(path: str) -> str:
    return path.split("{")[0] + "0" * 64 + path.split("}")[1] if "{" in path else path


# --- T17 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*map(filled, PATHS), *COMMON])
def test_nothing_is_told_without_a_token(hub: Any, path: str) -> None:
    host = hub.url.removeprefix("http://")
    for verb in VERBS:
        answer = hub.raw(f"{verb} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        status = int(answer.split(b" ", 2)[1])
        if (verb, path) in OPEN:
            body = json.loads(answer.partition(b"\r\n\r\n")[2])
            assert status == 200
            assert set(body) == OPEN[verb, path]
        else:
            assert 400 <= status < 500, (verb, path, answer[:200])
        for told in (b"Tornado", b"Python", b"Traceback", str(hub.home).encode(), b"ada"):
            assert told not in answer


def test_no_other_port_and_no_other_address(hub: Any) -> None:
    """It listens on loopback only, on the two ports that it says."""
    listening = {
        (each.laddr.ip, each.laddr.port) for each in hub.process.net_connections() if each.status == "LISTEN"
    }
    assert listening == {hub.address, hub.forwarder}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "example.org", "127.0.0.1.example.org"])
def test_other_addresses_need_tls(hub: Any, tmp_path: Path, host: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "funcx_lab_hub_service", "--data", str(tmp_path / "d"), "--host", host],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "TLS" in done.stderr


# --- T13 ----------------------------------------------------------------------------------------------


def hosts(hub: Any) -> list[str]:
    name, port = hub.address
    return [
        *(
            "evil.com",
            f"evil.com:{port}",
            f"{name}.evil.com:{port}",
            f"evil.com#{name}:{port}",
            f"{name}:{port}.evil.com",
        ),
        *(f"{name}:{port + 1}", name, f"{name}:", f":{port}", "", " ", "null", f"{name}:{port}@evil.com"),
        *(
            f"evil.com@{name}:{port}",
            f"{name}:{port},evil.com",
            f"evil.com, {name}:{port}",
            f"{name}:{port}/",
        ),
        *(f"0.0.0.0:{port}", f"[::]:{port}", f"127.1:{port}", f"2130706433:{port}", f"localhost.:{port}"),
        *(f"127.0.0.1.nip.io:{port}", f"loc\u0430lhost:{port}", f"{name}:0{port}", f"{name}:+{port}"),
    ]


UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


def test_only_our_own_names_are_served(hub: Any) -> None:
    """With a good token even: a page of a rebound name could have one from its own storage."""
    secret = f"Authorization: Bearer {hub.tokens['ada']}\r\n"
    for host, (path, more) in itertools.product(
        hosts(hub), (("/v3/whoami", ""), ("/v3/stream", UPGRADE), ("/healthz", ""), ("/v3/nothing", ""))
    ):
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{secret}{more}Connection: close\r\n\r\n"
        status = int((hub.raw(request.encode(), timeout=0.3) or b"HTTP/1.1 400 ").split(b" ", 2)[1])
        assert status in (400, 403), (host, path, status)


@pytest.mark.parametrize("path", ["/v3/whoami", "/v3/stream"])
def test_the_host_is_named_once(hub: Any, path: str) -> None:
    good = hub.url.removeprefix("http://")
    secret = f"Authorization: Bearer {hub.tokens['ada']}\r\n"
    more = UPGRADE if path == "/v3/stream" else ""
    for head in (
        f"Host: {good}\r\nHost: evil.com\r\n",
        f"Host: evil.com\r\nHost: {good}\r\n",
        f"X-Forwarded-Host: {good}\r\nHost: evil.com\r\n",
        f"Host: evil.com\r\nForwarded: host={good}\r\n",
        "",
    ):
        answer = hub.raw(f"GET {path} HTTP/1.1\r\n{head}{secret}{more}\r\n".encode(), timeout=0.3)
        assert not answer.startswith((b"HTTP/1.1 2", b"HTTP/1.1 101")), head
    for target in ("http://evil.com" + path, "//evil.com" + path, f"http://{good}@evil.com{path}"):
        answer = hub.raw(
            f"GET {target} HTTP/1.1\r\nHost: evil.com\r\n{secret}{more}\r\n".encode(), timeout=0.3
        )
        assert not answer.startswith((b"HTTP/1.1 2", b"HTTP/1.1 101")), target


@pytest.mark.parametrize(
    "origin",
    ["http://evil.com", "null", "", "http://127.0.0.1", "https://evil.com:{port}", "http://127.0.0.1:{port}.evil.com",
     "http://evil.com@127.0.0.1:1", "file://", "chrome-extension://x", "http://localhost:{port}@evil.com"],
)  # fmt: skip
def test_a_page_of_another_origin_opens_no_stream(hub: Any, origin: str) -> None:
    host = hub.url.removeprefix("http://")
    secret = f"Authorization: Bearer {hub.tokens['ada']}\r\n"
    head = f"Host: {host}\r\nOrigin: {origin.format(port=hub.address[1])}\r\n{secret}{UPGRADE}"
    answer = hub.raw(f"GET /v3/stream HTTP/1.1\r\n{head}\r\n".encode(), timeout=0.3)
    assert answer.startswith(b"HTTP/1.1 403"), answer[:100]


def test_a_page_cannot_read_or_preflight(hub: Any, ada: Any) -> None:
    """No answer allows another origin, and no token is taken from where a browser sends it by itself."""
    headers = {"Origin": "http://evil.com", "Access-Control-Request-Method": "POST"}
    for verb in ("OPTIONS", "GET"):
        answer = ada(verb, "/v3/whoami", headers=headers)
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    host, token = hub.url.removeprefix("http://"), hub.tokens["ada"]
    for head in (
        f"Cookie: token={token}",
        f"Cookie: Authorization=Bearer {token}",
        f"Authorization: Basic {token}",
    ):
        for path in ("/v3/whoami", f"/v3/whoami?token={token}", f"/v3/whoami?access_token={token}"):
            answer = hub.raw(
                f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{head}\r\nConnection: close\r\n\r\n".encode()
            )
            assert answer.startswith((b"HTTP/1.1 401", b"HTTP/1.1 429")), (head, path)


HEALTH = "GET /healthz HTTP/1.1\r\nHost: {host}\r\n"
POST = "POST /v3/functions HTTP/1.1\r\nHost: {host}\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        HEALTH + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v3",
        HEALTH + "Content-Length: 4\r\nContent-Length: 40\r\n\r\nabcdGET / HTTP/1.1\r\n\r\n",
        HEALTH + "Content-Length: -1\r\n\r\n",
        HEALTH + "Content-Length: +5\r\n\r\nabcde",
        HEALTH + "Content-Length: \u0665\r\n\r\nabcde",
        POST + "Transfer-Encoding: chunked, gzip\r\n\r\n",
        POST + "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n",
        POST + "Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        "GET /healthz\r\nHost: {host}\r\n\r\n",
        "GET /v3/whoami HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer\r\n\r\n",
        "GET /v3/whoami HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer \0\r\n\r\n",
        "GET /v3/whoami HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer x\r\n y\r\n\r\n",
        "GET /healthz HTTP/1.1\nHost: {host}\n\n",
        "\r\n\r\n\r\n", "\0" * 100, "GET " + "/" * 70_000 + " HTTP/1.1\r\n\r\n",
        "GET /\r\nX: y HTTP/1.1\r\nHost: {host}\r\n\r\n",
    ],
)  # fmt: skip
def test_requests_that_are_none(hub: Any, ada: Any, request_: str) -> None:
    host = hub.url.removeprefix("http://")
    answer = hub.raw(request_.replace("{host}", host).encode(), timeout=0.3)
    assert answer.count(b"HTTP/1.1 2") <= (1 if b"/healthz" in request_.encode() else 0)
    assert b"HTTP/1.1 5" not in answer
    assert ada("GET", "/v3/whoami").status == 200


# --- T18: nothing of ours goes where a stranger says --------------------------------------------------


class Elsewhere:
    """A server that redirects, and one that counts who comes with what."""

    def __init__(self, status: int, location: str) -> None:
        self.came: list[str] = []
        elsewhere = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/stolen":
                    elsewhere.came.append(self.headers.get("Authorization", ""))
                    self.send_response(200)
                else:
                    self.send_response(status)
                    self.send_header("Location", location.format(port=self.server.server_address[1]))
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_PUT = do_DELETE = do_HEAD = do_GET  # noqa: N815  # names that http.server calls

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location",
    ["/stolen", "http://127.0.0.1:{port}/stolen", "//127.0.0.1:{port}/stolen", "http://x@127.0.0.1:{port}/stolen",
     "http://169.254.169.254/latest/meta-data", "file:///etc/passwd", ""],
)  # fmt: skip
def test_no_redirect_is_followed(status: int, location: str) -> None:
    elsewhere = Elsewhere(status, location)
    transport = Transport(Service(elsewhere.url, "fxl_secret"), attempts=1)
    try:
        for verb in ("GET", "POST"):
            with pytest.raises(FuncxLabError):
                transport.json(verb, "/v3/whoami", {} if verb == "POST" else None)
    finally:
        transport.close()
        elsewhere.close()
    assert elsewhere.came == []


@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/", "http://evil.com", "ftp://127.0.0.1", "file:///etc/passwd", "http://127.0.0.1@evil.com",
     "http://localhost.evil.com", "http://127.0.0.1.evil.com", "//evil.com", "", "http://", "http://[::ffff:8.8.8.8]"],
)  # fmt: skip
def test_no_token_goes_out_in_the_clear(url: str) -> None:
    with pytest.raises(UsageError):
        check_address(url)


def test_the_service_calls_nobody(hub: Any, ada: Any) -> None:
    """Whatever addresses it is given, it dials none of them."""
    with socket.create_server(("127.0.0.1", 0)) as trap:
        port = trap.getsockname()[1]
        address = f"http://127.0.0.1:{port}/x"
        ada(
            "POST",
            "/v3/functions",
            {"function_name": address, "function_code": address, "meta": {"callback": address}},
        )
        ada("POST", "/v3/endpoints", {"endpoint_name": "x", "metadata": {"webhook": address, "url": address}})
        for path in ("/v3/endpoints/http:%2f%2f127.0.0.1/submit", f"/v3/whoami?url={address}", f"/{address}"):
            ada(
                "GET", path, headers={"Referer": address, "X-Forwarded-For": "127.0.0.1", "Location": address}
            )
        trap.settimeout(0.5)
        with pytest.raises(TimeoutError):
            trap.accept()
    remote = [each for each in hub.process.net_connections() if each.status == "ESTABLISHED" and each.raddr]
    assert all(
        each.laddr in (hub.address, hub.forwarder) or each.laddr[1] == hub.address[1] for each in remote
    )
