"""Named sessions: which serving session is home to which name, and what became of those that were. Sans-IO.

A user's session lives in the memory of one worker, so its calls go there and nowhere else. It ends
with the worker, or when nobody used it for a while; its next call then gets a new one and is told why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: Names whose session is over, and why, are remembered for so many of them.
MOST_LOST = 1000


@dataclass(slots=True)
class _Named:
    #: the serving session that is its home, nothing while there is none
    sid: str = ""
    host: str = ""
    #: how the last home was lost
    lost: str = ""
    #: calls that have not ended, and when the last one did (monotonic seconds)
    calls: int = 0
    used: float = 0.0


class NamedSessions:
    """The named sessions of one endpoint."""

    def __init__(self) -> None:
        self._named: dict[str, _Named] = {}
        self._at: dict[str, list[str]] = {}

    def enter(self, name: str) -> None:
        """Take note of a call that names a session."""
        self._named.setdefault(name, _Named()).calls += 1

    def leave(self, name: str, now: float) -> None:
        """Take note of such a call's end."""
        named = self._named[name]
        named.calls -= 1
        named.used = now
        if not named.calls and not named.sid and not named.lost:
            del self._named[name]

    def home(self, name: str) -> str:
        """Return the serving session that has this one, or nothing."""
        return self._named[name].sid

    def at(self, sid: str) -> list[str]:
        """Return the names that are at home in a serving session."""
        return self._at.get(sid, [])

    def settle(self, name: str, sid: str, host: str) -> str:
        """Make a serving session the home of a name, unless it has one; return how its last one was lost."""
        named = self._named[name]
        if not named.sid:
            named.sid, named.host = sid, host
            self._at.setdefault(sid, []).append(name)
        return named.lost

    def told(self, name: str) -> None:
        """Take note that a call has heard of the loss."""
        self._named[name].lost = ""

    def lost(self, sid: str, why: str) -> None:
        """Take note that a serving session is over."""
        for name in self._at.pop(sid, ()):
            self._leave_home(name, why)

    def expired(self, before: float) -> list[tuple[str, str]]:
        """End the sessions that nobody has used since ``before``; return ``(name, sid)`` of each."""
        old = [
            (name, named.sid)
            for name, named in self._named.items()
            if named.sid and not named.calls and named.used <= before
        ]
        for name, _ in old:
            self.end(name, "it had not been used for so long that it was ended")
        return old

    def end(self, name: str, why: str) -> None:
        """Take note that one session is over though its worker lives."""
        named = self._named.get(name)
        if named is not None and named.sid:
            at = self._at[named.sid]
            at.remove(name)
            if not at:
                del self._at[named.sid]
            self._leave_home(name, why)

    def report(self) -> list[dict[str, Any]]:
        """Return, for people, the sessions that are up."""
        return [
            {"name": name, "host": named.host, "calls": named.calls}
            for name, named in self._named.items()
            if named.sid
        ]

    def _leave_home(self, name: str, why: str) -> None:
        named = self._named.pop(name)
        named.sid, named.lost = "", why
        if named.lost or named.calls:
            self._named[name] = named  # now the youngest
        gone = [each for each, other in self._named.items() if not other.sid and not other.calls]
        for each in gone[:-MOST_LOST]:
            del self._named[each]
