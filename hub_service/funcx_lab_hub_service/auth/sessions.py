"""Sessions of browsers: a cookie stands for a token that never leaves the service."""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections.abc import Callable
from typing import TypeVar

#: A session ends after so many seconds, a login code after so many.
SESSION_S, CODE_S = 12 * 3600.0, 300.0
#: So many of either are kept; the oldest go.
_LIMIT = 10_000

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Session:
    """One browser that is logged in.

    Attributes
    ----------
    token : str
        What it was logged in with; the session works while that does.
    xsrf : str
        What a page shows with everything that changes something.
    ends : float
        By the clock of `Sessions`.
    """

    token: str = dataclasses.field(repr=False)
    xsrf: str = dataclasses.field(repr=False)
    ends: float = 0.0


class Sessions:
    """The sessions and login codes of one hub service, in memory: after a restart one logs in again.

    Parameters
    ----------
    clock : callable
        Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        #: one-time codes with the token that each stands for, and when it ends
        self._codes: dict[str, tuple[str, float]] = {}

    def open(self, token: str) -> tuple[str, Session]:
        """Return the secret of a new session, for its cookie, and the session."""
        secret = secrets.token_urlsafe(32)
        session = Session(token, secrets.token_urlsafe(32), self._clock() + SESSION_S)
        _put(self._sessions, secret, session)
        return secret, session

    def find(self, secret: str) -> Session | None:
        """Return the session of a cookie, if it goes on."""
        session = self._sessions.get(secret)
        if session is not None and session.ends <= self._clock():
            self.close(secret)
            return None
        return session

    def close(self, secret: str) -> None:
        """End a session."""
        self._sessions.pop(secret, None)

    def new_code(self, token: str) -> str:
        """Return a code that logs one browser in, once, in the next five minutes."""
        code = secrets.token_urlsafe(32)
        _put(self._codes, code, (token, self._clock() + CODE_S))
        return code

    def redeem(self, code: str) -> str | None:
        """Return the token that a code stands for, and void the code; None if it is no good."""
        token, ends = self._codes.pop(code, ("", 0.0))
        return token if token and ends > self._clock() else None


def _put(kept: dict[str, T], key: str, value: T) -> None:
    if len(kept) >= _LIMIT:
        del kept[next(iter(kept))]
    kept[key] = value
