"""Nobody sits at a worker: what asks for input raises, where it would wait for ever or read nothing."""

from __future__ import annotations

import builtins
import getpass
import sys
from typing import Any, NoReturn

from funcx_lab.errors import InputRefused


def refuse_input() -> None:
    """Let ``input``, ``getpass`` and ``breakpoint`` of the user's code raise `InputRefused`."""
    builtins.input = _input
    getpass.getpass = _getpass
    sys.breakpointhook = _breakpoint


def _input(prompt: object = "", /) -> NoReturn:
    asked = repr(str(prompt).strip())[:80] if str(prompt).strip() else ""
    raise InputRefused(
        f"input({asked}) has nobody to answer at an endpoint. Give the value a name in the notebook "
        "(or make it an argument) and use that name here."
    )


def _getpass(*_: Any, **__: Any) -> NoReturn:
    raise InputRefused(
        "getpass() has nobody to answer at an endpoint. Read the secret there, from a file that only you may "
        "read or from the environment that worker_init sets up: what a notebook sends, the service stores."
    )


def _breakpoint(*_: Any, **__: Any) -> NoReturn:
    raise InputRefused("breakpoint() has nobody at its prompt at an endpoint. Debug it where you sit.")
