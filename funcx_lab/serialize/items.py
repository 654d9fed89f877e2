"""Compute the items of a map that travel as one task, each with an outcome of its own.

A task of one item is that item's call: it returns what the call returns and fails when the call fails.
A task of several items ends well whatever its items do, and returns `ItemOutcomes`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from funcx_lab.errors import CannotSerialize
from funcx_lab.protocol.messages import ErrorInfo
from funcx_lab.serialize.exceptions import pack_exception
from funcx_lab.serialize.results import ItemOutcomes, pack_value


def compute_items(compute: Callable[[int], Any], count: int) -> Any:
    """Compute items ``0`` to ``count - 1``, one after another.

    Parameters
    ----------
    compute : callable
        Takes an item's number and returns its value.
    count : int
        How many items there are.

    Returns
    -------
    Any
        The value of a lone item, else `ItemOutcomes`.

    Raises
    ------
    Exception
        What a lone item raises. What one of several raises is its outcome and touches no other.
    KeyboardInterrupt
        When the whole task is stopped.
    """
    if count == 1:
        return compute(0)
    outcomes = [_outcome(compute, index) for index in range(count)]
    return ItemOutcomes([error for error, _ in outcomes], [block for _, block in outcomes])


def _outcome(compute: Callable[[int], Any], index: int) -> tuple[ErrorInfo | None, bytes]:
    try:
        return None, pack_value(compute(index)).tobytes()
    except CannotSerialize as err:
        return ErrorInfo(err.code, err.message, type(err).__name__, details=err.details), b""
    except (Exception, SystemExit) as err:  # whatever the user's code raised
        payload, error = pack_exception(err)
        return error, payload.tobytes()
