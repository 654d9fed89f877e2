"""A kernel in a user's own server of JupyterHub, asked as a browser asks it."""

from __future__ import annotations

import contextlib
import json
import uuid
from typing import Any

from websockets.sync.client import connect

from tests.jupyterhub.hub import LIMIT_S, Client, JupyterHub


class Kernel:
    """One kernel; cells run one after another."""

    def __init__(self, jupyterhub: JupyterHub, user: str) -> None:
        token = jupyterhub.client(user, [f"access:servers!user={user}"]).token
        server = Client(f"{jupyterhub.address}/user/{user}", token)
        kernel_id = server("POST", "/api/kernels", {}).document["id"]
        address = f"{server.base}/api/kernels/{kernel_id}/channels".replace("http", "ws", 1)
        headers = {"Authorization": f"Bearer {token}"}
        self._open = contextlib.ExitStack()
        self._connection = self._open.enter_context(
            connect(address, additional_headers=headers, max_size=None, proxy=None)
        )

    def run(self, code: str) -> str:
        """Run a cell and return what it printed, traceback included."""
        number = uuid.uuid4().hex
        header = {
            "msg_id": number,
            "msg_type": "execute_request",
            "session": number,
            "username": "",
            "date": "",
        }
        content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
        message = {
            **{"header": header | {"version": "5.3"}, "parent_header": {}, "metadata": {}},
            **{"content": content, "channel": "shell"},
        }
        self._connection.send(json.dumps(message))
        printed = ""
        while True:
            told: dict[str, Any] = json.loads(self._connection.recv(LIMIT_S))
            if told["parent_header"].get("msg_id") != number:
                continue
            kind, content = told["msg_type"], told["content"]
            if kind == "stream":
                printed += content["text"]
            elif kind in ("display_data", "update_display_data", "execute_result"):
                printed += content["data"].get("text/plain", "") + "\n"
            elif kind == "error":
                printed += "\n".join(content["traceback"])
            elif kind == "status" and content["execution_state"] == "idle":
                return printed

    def close(self) -> None:
        self._open.close()
