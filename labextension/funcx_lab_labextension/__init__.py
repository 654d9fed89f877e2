"""The Jupyter server extension: pages of JupyterLab reach the hub service through the Jupyter server.

The browser knows one server and no secret; which hub service there is, and its token, stays here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

#: The folder below ``share/jupyter/labextensions``.
NAME = "funcx-lab"


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "labextension", "dest": NAME}]


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(server: ServerApp) -> None:
    from funcx_lab_labextension.extension import load

    load(server)
