"""How errors look in a notebook: the user's own lines, the remote place, and none of our frames."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from typing import NoReturn

from funcx_lab.errors import FuncxLabError, RemoteError

_CELL_FRAME = re.compile(
    r'^  File "<?(?P<cell>Cell In\[\d+\])[^"]*", line (?P<line>\d+)(?:, in (?P<name>.+))?$'
)


class CellInterrupted(KeyboardInterrupt):
    """The user interrupted a cell that ran at an endpoint; the message says what became of its task.

    It stands outside the tree of errors because ``except Exception`` must not catch an interrupt.
    """


def interrupted(message: str) -> NoReturn:
    """Raise `CellInterrupted` with this message, which is all that IPython shows."""
    raise show_as(CellInterrupted(message), [message]) from None


def show_as(error: BaseException, lines: Sequence[str]) -> BaseException:
    """Make IPython show ``lines`` in place of a traceback of this process, and return the error."""

    def render() -> list[str]:
        return list(lines)

    with contextlib.suppress(AttributeError, TypeError):  # an exception with slots keeps its own traceback
        error._render_traceback_ = render  # type: ignore[attr-defined]  # IPython looks for this name
    return error


def brief(error: BaseException) -> BaseException:
    """Make IPython show an error as its name and message alone."""
    return show_as(error, [_summary(error)])


def remote(error: BaseException, traceback: str, where: str) -> BaseException:
    """Make IPython show the remote traceback with the notebook's lines, and the remote place last.

    Parameters
    ----------
    error : BaseException
        What the cell raised.
    traceback : str
        The remote traceback.
    where : str
        Host and task, e.g. ``"on local (node3), task …3f2a91c0"``.
    """
    if traceback.strip():
        if hasattr(error, "exceptions") and hasattr(error, "add_note"):
            # IPython shows groups of exceptions as Python does, which knows notes and not us.
            error.add_note(f"\n{notebook_traceback(traceback)}\n  raised {where}")
        return show_as(error, [f"{_own_last_line(notebook_traceback(traceback), error)}\n  raised {where}"])
    return show_as(error, [f"{_summary(error)}\n  {where}"])


def _own_last_line(traceback: str, error: BaseException) -> str:
    """Let an error of ours end its traceback with its page in the reference."""
    if not isinstance(error, FuncxLabError) or isinstance(error, RemoteError):
        return traceback
    frames, found, _ = traceback.rpartition(f"{type(error).__name__}: ")
    return f"{frames[: frames.rfind(chr(10)) + 1]}{_summary(error)}" if found else traceback


def _summary(error: BaseException) -> str:
    """Return type, page in the reference and message."""
    number = f" [{error.number}]" if isinstance(error, FuncxLabError) else ""
    return f"{type(error).__name__}{number}: {error}"


def notebook_traceback(traceback: str) -> str:
    """Return a traceback whose frames in cells read as IPython writes them: ``Cell In[3], line 4``."""
    lines = []
    for line in traceback.rstrip().splitlines():
        match = _CELL_FRAME.match(line)
        if match is None:
            lines.append(line)
            continue
        name = f", in {match['name']}" if match["name"] and match["name"] != "<module>" else ""
        lines.append(f"{match['cell']}, line {match['line']}{name}")
    return "\n".join(lines)


def as_text(error: BaseException) -> str:
    """Return what a notebook shows of an error."""
    render = getattr(error, "_render_traceback_", None)
    return "\n".join(render()) if render is not None else _summary(error)
