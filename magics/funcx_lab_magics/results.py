"""What a cell left: its names go into the notebook, its value is returned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from funcx_lab.serialize.cell import CellResult

#: A cell's value stands under this name among what stayed at the endpoint.
VALUE = "_"


class RemoteValue:
    """Stands for a value that stayed at the endpoint: it looks like the value and says why it is not here.

    Parameters
    ----------
    display : mapping
        What a front end shows of the value, text by MIME type.
    reason : str
        Why the value itself did not come.
    """

    def __init__(self, display: Mapping[str, Any], reason: str) -> None:
        self.display = dict(display)
        self.reason = reason

    def __repr__(self) -> str:
        return str(self.display.get("text/plain", "<value at the endpoint>"))

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return self.display


def deliver(result: Any, namespace: dict[str, Any], say: Callable[[str], None]) -> Any:
    """Put a cell's names into the notebook and return its value; any other result is its own value.

    Parameters
    ----------
    result : object
        What the task gave.
    namespace : dict
        The notebook's names.
    say : callable
        Told, in one line, what did not come back and why.
    """
    if not isinstance(result, CellResult):
        return result
    namespace.update(result.names)
    stayed = [f"{name} ({reason})" for name, reason in result.left_out.items() if name != VALUE]
    if stayed:
        say(f"← not brought back: {', '.join(stayed)}")
    if VALUE in result.left_out:
        return RemoteValue(result.display, result.left_out[VALUE])
    return result.value if result.value_present else None
