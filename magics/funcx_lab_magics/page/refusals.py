"""A cell that was refused before it was sent: facts of which JupyterLab makes buttons."""

from __future__ import annotations

import html
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from funcx_lab.errors import CannotSerialize, EnvMismatch, FuncxLabError, UsageError
from funcx_lab.looks import TASK_MIME, is_jupyterlab
from funcx_lab_magics.page.front_end import is_watched

#: What has a remedy that one edit of the cell's line is.
_REMEDIED = (CannotSerialize, EnvMismatch, UsageError)


@contextmanager
def offered(shell: Any) -> Iterator[None]:
    """Show the facts of a refusal above its message, where a JupyterLab makes buttons of them."""
    try:
        yield
    except _REMEDIED as err:
        if err.details and is_jupyterlab() and is_watched(shell):
            shell.display_pub.publish(data=bundle(err))
        raise


def bundle(error: FuncxLabError) -> dict[str, Any]:
    """Return a refusal for JupyterLab, and as good as nothing for any other: its message follows."""
    text = f"{error.number}: nothing was sent"
    facts = {"refused": {"code": error.code, "details": dict(error.details)}}
    return {"text/plain": text, "text/html": f"<span hidden>{html.escape(text)}</span>", TASK_MIME: facts}
