"""What the sessions hold that a notebook's cells run in, as far as the notebook knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from funcx_lab.errors import FuncxLabError
from funcx_lab.protocol.states import TaskState

if TYPE_CHECKING:
    from funcx_lab import FuncXClient
    from funcx_lab_magics.tasks import Task

#: Workers tell so many names of a session; from then on earlier ones count as still there.
NAMES_LIMIT = 500
#: A session from before the kernel started is looked for among so many of the newest tasks.
LOOKED_AT = 100


@dataclass
class _Session:
    #: the names that its last task to end has told
    names: set[str] = field(default_factory=set)
    #: tasks whose end is not known here, and the names that they assign
    sent: list[tuple[Task, set[str]]] = field(default_factory=list)


class SessionBook:
    """The sessions by endpoint and name."""

    def __init__(self) -> None:
        self._sessions: dict[tuple[str, str], _Session] = {}

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self._sessions

    def endpoint_of(self, name: str) -> str | None:
        """Return where a session of this name was last used."""
        return next((where for where, each in reversed(self._sessions) if each == name), None)

    def add(self, endpoint: str, name: str, task: Task, assigned: set[str]) -> None:
        """Take note of a cell that was sent to a session, and of the names that it assigns."""
        key = endpoint, name
        self._sessions[key] = session = self._sessions.pop(key, None) or _Session()
        session.sent.append((task, assigned))

    def forget(self, endpoint: str, name: str) -> None:
        """Take note that a session has ended."""
        self._sessions.pop((endpoint, name), None)

    def names(self, client: FuncXClient, endpoint: str, name: str, namespace: Mapping[str, Any]) -> set[str]:
        """Return the names that a session has.

        Those of a session from before this kernel started count unless the notebook has them too.
        """
        session = self._sessions.get((endpoint, name))
        if session is None:
            return _earlier(client, endpoint, name) - set(namespace)
        while session.sent:
            task, assigned = session.sent[0]
            record = _ended(task)
            if record is None:
                break
            told = _told(record, name)
            if told is not None:
                session.names = told | session.names | assigned if len(told) >= NAMES_LIMIT else told
            del session.sent[0]
        return session.names.union(*(assigned for _, assigned in session.sent))


def _ended(task: Task) -> dict[str, Any] | None:
    """Return the record of a task that has ended; None if it has not, or nobody can say."""
    try:
        record = task.record()
    except FuncxLabError:
        return None
    return record if TaskState(record["state"]).is_final else None


def _told(record: Mapping[str, Any], name: str) -> set[str] | None:
    """Return the names that a record tells of a session, None if it tells none: it never began."""
    session = (record.get("worker") or {}).get("session") or {}
    return set(session["names"]) if session.get("name") == name else None


def _earlier(client: FuncXClient, endpoint: str, name: str) -> set[str]:
    try:
        records = client.get_tasks(limit=LOOKED_AT)
    except FuncxLabError:
        return set()
    here = (each for each in records if endpoint in (each.get("endpoint_name"), each.get("endpoint_id")))
    return next((told for each in here if (told := _told(each, name)) is not None), set())
