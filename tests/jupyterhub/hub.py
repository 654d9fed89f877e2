"""A real JupyterHub with its proxy and the hub service, as docs/examples/jupyterhub_config.py sets it up."""

from __future__ import annotations

import contextlib
import http.cookiejar
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "jupyterhub_config.py"
#: a wait that takes longer has hung
LIMIT_S = 60.0
#: The example, an administrator's token, and roles as docs/jupyterhub.md gives them to groups.
CONFIG = """
import os
with open({example!r}) as file:
    exec(compile(file.read(), {example!r}, "exec"))
c.JupyterHub.hub_port = {hub_port}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.JupyterHub.services.append({{"name": "tests", "api_token": os.environ["TESTS_TOKEN"]}})
c.JupyterHub.load_groups = {{
    "physics": {{"users": ["ada", "eve"]}},
    "registrars": {{"users": ["ada"]}},
    "others": {{"users": ["bob"]}},
}}
c.JupyterHub.load_roles = [
    {{"name": "user", "scopes": ["self", ACCESS]}},
    {{"name": "computes", "scopes": SCOPES[:2], "groups": ["physics"]}},
    {{"name": "registers", "scopes": SCOPES, "groups": ["registrars"]}},
    {{
        "name": "tests",
        "scopes": ["admin:users", "admin:servers", "tokens", "admin:groups"],
        "services": ["tests"],
    }},
]
"""


def find_proxy() -> str | None:
    """Return the folder of configurable-http-proxy; None if it is not installed."""
    folder = ROOT / "labextension" / "node_modules" / ".bin"
    if (folder / "configurable-http-proxy").exists():
        return str(folder)
    found = shutil.which("configurable-http-proxy")
    return None if found is None else str(Path(found).parent)


def free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


def until(condition: Callable[[], Any], text: str = "it never came true", limit_s: float = LIMIT_S) -> Any:
    end = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < end, text
        time.sleep(0.05)
    return value


class Answer:
    """What came, redirects followed."""

    def __init__(self, response: Any) -> None:
        self.status: int = response.status
        self.url: str = response.url
        self.headers = response.headers
        self.content: bytes = response.read()

    @property
    def document(self) -> Any:
        return json.loads(self.content)


class Client:
    """Asks with a token, or as a browser does: with cookies."""

    def __init__(self, base: str, token: str | None = None) -> None:
        self.base, self.token = base, token
        self.jar = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(self.jar), urllib.request.ProxyHandler({})
        )

    def __call__(
        self, method: str, path: str, document: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        data = None if document is None else json.dumps(document).encode()
        return self.send(method, path, data, {"Content-Type": "application/json", **(headers or {})})

    def send(self, method: str, path: str, data: bytes | None, headers: dict[str, str]) -> Answer:
        sent = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        request = urllib.request.Request(self.base + path, data, sent | headers, method=method)
        try:
            with self._opener.open(request, timeout=LIMIT_S) as response:
                return Answer(response)
        except urllib.error.HTTPError as response:
            with response:
                return Answer(response)

    def cookie(self, name: str, path: str) -> http.cookiejar.Cookie:
        """Return the cookie of a path whose name matches the pattern."""
        return next(each for each in self.jar if each.path == path and re.fullmatch(name, each.name))

    def log_in(self, user: str) -> None:
        """Type name and password into JupyterHub's form."""
        self("GET", "/hub/login")
        form = {"username": user, "password": "trial", "_xsrf": self.cookie("_xsrf", "/hub/").value}
        sent = {"Content-Type": "application/x-www-form-urlencoded"}
        path = "/hub/login?next=%2Fhub%2Ftoken"
        answer = self.send("POST", path, urllib.parse.urlencode(form).encode(), sent)
        assert answer.status == 200, answer.content[-500:]


class JupyterHub:
    """A JupyterHub that runs in a directory of its own."""

    def __init__(self, directory: Path, proxy: str) -> None:
        directory.mkdir()
        self.directory = directory
        self._log = directory / "log"
        self._admin_token = secrets.token_hex(16)
        port, hub_port, proxy_port, service_port = (free_port() for _ in range(4))
        self.address = f"http://127.0.0.1:{port}"
        self.url = f"{self.address}/services/funcx"
        config = directory / "test_config.py"
        config.write_text(CONFIG.format(example=str(EXAMPLE), hub_port=hub_port, proxy_port=proxy_port))
        kept = ("HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")
        environment = {name: os.environ[name] for name in kept if name in os.environ} | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), proxy, os.environ["PATH"]]),
            "TESTS_TOKEN": self._admin_token,
            "FUNCX_TRIAL_DIRECTORY": str(directory),
            "FUNCX_TRIAL_PORT": str(port),
            "FUNCX_TRIAL_SERVICE": f"http://127.0.0.1:{service_port}",
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jupyterhub", "-f", str(config)],
                cwd=directory,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.admin = Client(f"{self.address}/hub/api", self._admin_token)
        try:
            until(self._is_up, "JupyterHub did not start")
        except BaseException:
            self.stop()
            raise

    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def _is_up(self) -> bool:
        assert self._process.poll() is None, self.said()[-3000:]
        with contextlib.suppress(OSError):
            return Client(self.url)("GET", "/healthz").status == 200
        return False

    def client(self, user: str, scopes: list[str] | None = None) -> Client:
        """Return a client with a new token of JupyterHub's for ``user``, who has ``token_id`` then."""
        body = {} if scopes is None else {"scopes": scopes}
        answer = self.admin("POST", f"/users/{user}/tokens", body)
        assert answer.status == 201, answer.content
        client = Client(self.url, answer.document["token"])
        client.token_id = answer.document["id"]  # type: ignore[attr-defined]  # only the tests revoke
        return client

    def browser(self, user: str) -> Client:
        """Return a browser in which ``user`` is logged in at JupyterHub."""
        client = Client(self.address)
        client.log_in(user)
        return client

    def spawn(self, user: str) -> None:
        """Start the user's own server and wait for it."""
        assert self.admin("POST", f"/users/{user}/server").status in (201, 202)
        until(lambda: self.admin("GET", f"/users/{user}").document["server"], "the server did not start")

    def stop(self) -> None:
        """End JupyterHub, which ends its proxy, the service and the servers; then whatever is left."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
