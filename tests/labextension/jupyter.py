"""A real Jupyter server with the extension, a browser's way to ask it, and a hub service in this process."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
from websockets.sync.client import ClientConnection, connect

from funcx_lab.embedded import stop_service

JUPYTER_TOKEN = "the-token-of-the-jupyter-server"
BASE_URL = "/user/ada%40lab/"
START_S = 120.0
_DIRECTORIES = ("CONFIG", "DATA", "RUNTIME")


class Answer:
    """A response, read whole."""

    def __init__(self, status: int, headers: Any, content: bytes) -> None:
        self.status, self.headers, self.content = status, headers, content

    @property
    def document(self) -> Any:
        return json.loads(self.content)

    @property
    def code(self) -> str:
        return str(self.document["code"])


class JupyterServer:
    """A running ``jupyter server``.

    Attributes
    ----------
    home : Path
        Its FUNCX_LAB_HOME; a ``profile.json`` there says which hub service it uses.
    root : Path
        Where its notebooks lie.
    """

    def __init__(self, directory: Path, **variables: str) -> None:
        self.home, self.root, self.log = (directory / name for name in ("home", "nb", "log"))
        self.home.mkdir(mode=0o700)
        self.root.mkdir()
        places = {f"JUPYTER_{name}_DIR": str(directory / name.lower()) for name in _DIRECTORIES}
        environment = {**os.environ, **places, "FUNCX_LAB_HOME": str(self.home), **variables}
        command = [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", "--port=0"]
        command += [f"--ServerApp.base_url={BASE_URL}", f"--IdentityProvider.token={JUPYTER_TOKEN}"]
        command += [f"--ServerApp.root_dir={self.root}", "--ServerApp.ip=127.0.0.1"]
        self._pool = urllib3.PoolManager(retries=False, timeout=60)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self._wait(directory / "runtime" / f"jpserver-{self.process.pid}.json")

    def _wait(self, about: Path) -> None:
        deadline = time.monotonic() + START_S
        while True:
            # It says where it will listen before it does.
            with contextlib.suppress(OSError, ValueError):
                self.origin = f"http://127.0.0.1:{json.loads(about.read_text())['port']}"
                self("GET", "api", below="")
                return
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def use(self, url: str, token: str) -> None:
        """Choose a hub service, as ``funcx-lab login`` does."""
        (self.home / "profile.json").write_text(json.dumps({"url": url, "token": token}))

    def use_local(self) -> None:
        """Choose the user's own, as ``funcx-lab logout`` does."""
        (self.home / "profile.json").unlink(missing_ok=True)

    def __call__(
        self,
        method: str,
        path: str,
        document: Any = None,
        *,
        token: str | None = JUPYTER_TOKEN,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        below: str = "funcx-lab/",
    ) -> Answer:
        """Ask for a path behind ``funcx-lab/``, exactly as it is written."""
        sent = {} if token is None else {"Authorization": f"token {token}"}
        if document is not None:
            body = json.dumps(document).encode()
            sent["Content-Type"] = "application/json"
        parts = urlsplit(self.origin)
        connection = HTTPConnection(str(parts.hostname), parts.port, timeout=60)
        try:
            connection.request(method, f"{BASE_URL}{below}{path}", body=body, headers=sent | (headers or {}))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def stream(self, path: str) -> urllib3.BaseHTTPResponse:
        """Ask, and read the answer later, piece by piece."""
        return self._pool.request(
            "GET",
            f"{self.origin}{BASE_URL}funcx-lab/{path}",
            headers={"Authorization": f"token {JUPYTER_TOKEN}"},
            preload_content=False,
        )

    @contextlib.contextmanager
    def socket(
        self, path: str, *, token: str | None = JUPYTER_TOKEN, **options: Any
    ) -> Iterator[ClientConnection]:
        """Open a WebSocket behind ``funcx-lab/``."""
        headers = options.pop("headers", {}) | ({} if token is None else {"Authorization": f"token {token}"})
        url = f"ws{self.origin.removeprefix('http')}{BASE_URL}funcx-lab/{path}"
        with connect(
            url, additional_headers=headers, proxy=None, compression=None, open_timeout=60, **options
        ) as connection:
            yield connection

    def stop(self) -> None:
        """End it, and the local hub service if it has started one."""
        self._pool.clear()
        self.process.terminate()
        try:
            self.process.wait(60)
        finally:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def running_jupyter(directory: Path, **variables: str) -> Iterator[JupyterServer]:
    """Start a Jupyter server in an empty directory, and end it and what it started."""
    server = JupyterServer(directory, **variables)
    try:
        yield server
    finally:
        server.stop()
        before = os.environ["FUNCX_LAB_HOME"]
        os.environ["FUNCX_LAB_HOME"] = str(server.home)
        try:
            stop_service()
        finally:
            os.environ["FUNCX_LAB_HOME"] = before


def cookies_of(server: JupyterServer) -> tuple[dict[str, str], str]:
    """Log in as a browser does; return the headers with its cookies, and the page's XSRF token."""
    root = f"{server.origin}{BASE_URL}"
    pool = urllib3.PoolManager(retries=False, timeout=60)
    jar: dict[str, str] = {}
    try:
        for method, url, fields in (
            ("GET", f"{root}login", None),
            ("POST", f"{root}login", {"password": JUPYTER_TOKEN}),
        ):
            headers = {"Cookie": _cookie(jar), "X-XSRFToken": jar.get("_xsrf", "")}
            response = pool.request(method, url, fields=fields, headers=headers, redirect=False)
            for line in response.headers.getlist("Set-Cookie"):
                name, _, value = line.partition(";")[0].partition("=")
                jar[name] = value
    finally:
        pool.clear()
    return {"Cookie": _cookie(jar)}, jar["_xsrf"]


def _cookie(jar: dict[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in jar.items())
