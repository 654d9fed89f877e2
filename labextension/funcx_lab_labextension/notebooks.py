"""What a notebook's kernel is to know of its notebook: the default endpoint that was picked on the page."""

from __future__ import annotations

import hashlib
import json
import os

import tornado.web
from jupyter_server.auth.decorator import authorized
from jupyter_server.services.contents.fileio import FileManagerMixin

from funcx_lab.config import home, write_private
from funcx_lab.errors import InvalidRequest
from funcx_lab_labextension.handlers import Handler

_LONGEST_NAME = 200


class NotebooksHandler(Handler):
    """``funcx-lab/notebooks``."""

    @tornado.web.authenticated
    @authorized
    async def put(self) -> None:
        """Keep the default endpoint of the notebook at a path of the contents API; null forgets it."""
        document = self.document()
        path, endpoint = document.get("path"), document.get("default_endpoint")
        if not isinstance(path, str) or not path or "\0" in path:
            raise InvalidRequest("path: the notebook's path as text is needed.")
        if endpoint is not None and (not isinstance(endpoint, str) or not 0 < len(endpoint) <= _LONGEST_NAME):
            raise InvalidRequest("default_endpoint: a name or id as text is needed, or null.")
        absolute = self._absolute(path)
        keep(absolute, endpoint)
        self.answer({"path": absolute, "default_endpoint": endpoint})

    def _absolute(self, path: str) -> str:
        """Return where the notebook lies; kernels know it by that.

        Raises
        ------
        InvalidRequest
            If the server keeps it elsewhere than in files.
        """
        manager = self.contents_manager
        if not isinstance(manager, FileManagerMixin):
            raise InvalidRequest("This server keeps notebooks elsewhere than in files, where kernels look.")
        # Jupyter's own way from a path to a file, which stays below the root; it is not typed.
        return os.path.abspath(str(manager._get_os_path(path.strip("/"))))  # type: ignore[no-untyped-call]


def keep(notebook: str, endpoint: str | None) -> None:
    """Write the default endpoint of the notebook at an absolute path where its kernel reads it.

    Raises
    ------
    ConfigError
        If that cannot be written.
    """
    directory = home() / "notebooks"
    directory.mkdir(mode=0o700, exist_ok=True)
    path = directory / f"{hashlib.sha256(os.fsencode(notebook)).hexdigest()}.json"
    if endpoint is None:
        path.unlink(missing_ok=True)
    else:
        write_private(path, json.dumps({"path": notebook, "default_endpoint": endpoint}) + "\n")
