"""What a user may ask of a call: retries, at most once, walltime, time to live."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from funcx_lab.errors import UsageError
from funcx_lab.protocol.messages import LABEL_LIMIT, LONGEST_S, RETRIES_LIMIT, SESSION_NAME, TaskOptions
from funcx_lab.requirements import read_requirements

#: Keywords of calls that also take the function's own; the prefix keeps them apart.
_PREFIX = "task_"
_NAMES = ("label", "retries", "at_most_once", "walltime", "ttl", "session", "memo", "fresh", "requires")

#: Stands for the key of the code, which `funcx_lab.connection.Connection.submit` fills in.
KEY_TO_COME = ""
_NOTHING = TaskOptions()


def make_options(
    *,
    label: str | None = None,
    retries: int = 0,
    at_most_once: bool = False,
    walltime: float | None = None,
    ttl: float | None = None,
    session: str | None = None,
    memo: bool = False,
    fresh: bool = False,
    requires: str | Sequence[str] = (),
) -> TaskOptions | None:
    """Return options, or None if nothing is asked.

    Parameters
    ----------
    label, retries, at_most_once, walltime, ttl, session, memo, fresh, requires
        As those of `funcx_lab.Executor`.

    Raises
    ------
    UsageError
        For a value that makes no sense, for ``retries`` together with ``at_most_once``, and for ``memo``
        together with ``session``.
    """
    _check_again(retries, at_most_once)
    for name, value in (("memo", memo), ("fresh", fresh)):
        _check_bool(name, value)
    if label is not None and (not isinstance(label, str) or len(label) > LABEL_LIMIT):
        raise UsageError(f"label must be text of at most {LABEL_LIMIT} characters, not {label!r:.80}.")
    if session is not None:
        _check_session(session, is_memo=memo or fresh)
    asked = TaskOptions(
        walltime_s=_seconds("walltime", walltime),
        at_most_once=at_most_once,
        label=label,
        retries=retries,
        ttl_s=_seconds("ttl", ttl),
        session=session,
        memo=KEY_TO_COME if memo or fresh else None,
        fresh=fresh,
        requires=read_requirements(requires),
    )
    return None if asked == _NOTHING else asked


def take_options(keywords: dict[str, Any]) -> TaskOptions | None:
    """Take ``task_retries``, ``task_at_most_once``, ... out of a call's keywords; the rest is the function's.

    Raises
    ------
    UsageError
        As `make_options`.
    """
    asked = {name: keywords.pop(_PREFIX + name) for name in _NAMES if _PREFIX + name in keywords}
    return make_options(**asked) if asked else None


def _check_again(retries: int, at_most_once: bool) -> None:
    if isinstance(retries, bool) or not isinstance(retries, int) or not 0 <= retries <= RETRIES_LIMIT:
        raise UsageError(f"retries must be a whole number from 0 to {RETRIES_LIMIT:,}, not {retries!r}.")
    _check_bool("at_most_once", at_most_once)
    if retries and at_most_once:
        raise UsageError("retries and at_most_once exclude each other: say which of the two you mean.")


def _check_bool(name: str, value: bool) -> None:
    if not isinstance(value, bool):
        raise UsageError(f"{name} must be True or False, not {value!r}.")


def _check_session(name: str, *, is_memo: bool) -> None:
    if not isinstance(name, str) or not SESSION_NAME.fullmatch(name):
        raise UsageError(
            f"session must be a name of at most 64 letters, digits, _, - and dots, not {name!r:.80}."
        )
    if is_memo:
        raise UsageError("memo and session exclude each other: what a session holds is not known here.")


def _seconds(name: str, value: float | None) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= LONGEST_S:
        raise UsageError(f"{name} must be a number of seconds above 0, ten years at most, not {value!r}.")
    return float(value)
