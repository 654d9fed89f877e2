"""In-memory fan-out of what has been committed. Everything told here can be read again from the store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Hashable
from typing import Any

from funcx_lab.protocol.messages import Event
from funcx_lab.protocol.stream import OutcomeItem

log = logging.getLogger(__name__)

GroupCallback = Callable[[list[OutcomeItem]], None]
TaskCallback = Callable[[OutcomeItem], None]
EventsCallback = Callable[[list[tuple[int, Event]], bool], None]
#: ``(changed, gone)``: tasks that came or moved, tasks that were purged
ChangesCallback = Callable[[Collection[str], Collection[str]], None]
#: ``(endpoint_id, moved)``: an endpoint changed, and perhaps with it how its tasks are
EndpointCallback = Callable[[str, bool], None]
Unsubscribe = Callable[[], None]


class Feed:
    """Who wants to hear what; every callback runs on the loop's thread after the commit."""

    def __init__(self) -> None:
        self._groups: dict[Hashable, list[Any]] = {}
        self._tasks: dict[Hashable, list[Any]] = {}
        self._events: dict[Hashable, list[Any]] = {}
        self._owners: dict[Hashable, list[Any]] = {}
        self._endpoints: dict[Hashable, list[Any]] = {}
        self._on_follow: Callable[[str], None] = lambda task_id: None

    def group(self, owner: str, group_id: str, callback: GroupCallback) -> Unsubscribe:
        """Hand over the outcomes of a task group, one list a commit."""
        return _subscribe(self._groups, (owner, group_id), callback)

    def task(self, task_id: str, callback: TaskCallback) -> Unsubscribe:
        """Hand over the outcome of one task."""
        return _subscribe(self._tasks, task_id, callback)

    def events(self, task_id: str, callback: EventsCallback) -> Unsubscribe:
        """Hand over new events of one task as ``(list of (seq, event), last)``."""
        unsubscribe = _subscribe(self._events, task_id, callback)
        self._on_follow(task_id)
        return unsubscribe

    def changes(self, owner: str, callback: ChangesCallback) -> Unsubscribe:
        """Name the owner's tasks that come, move, end or are purged."""
        return _subscribe(self._owners, owner, callback)

    def endpoints(self, callback: EndpointCallback) -> Unsubscribe:
        """Name every endpoint, whoever owns it, that changes."""
        return _subscribe(self._endpoints, None, callback)

    def when_followed(self, callback: Callable[[str], None]) -> None:
        """Call ``callback(task_id)`` whenever somebody begins to follow a task's events."""
        self._on_follow = callback

    def followed(self) -> list[str]:
        """Return the tasks whose events somebody follows."""
        return [str(task_id) for task_id in self._events]

    def is_followed(self, task_id: str) -> bool:
        """Whether somebody follows the task's events."""
        return task_id in self._events

    @property
    def is_watched(self) -> bool:
        """Whether somebody wants to hear of any owner's tasks."""
        return bool(self._owners)

    def is_owner_watched(self, owner: str) -> bool:
        """Whether somebody wants to hear of the owner's tasks."""
        return owner in self._owners

    def publish_changes(self, owner: str, changed: Collection[str] = (), gone: Collection[str] = ()) -> None:
        """Tell who watches the owner's tasks."""
        _tell(self._owners, owner, changed, gone)

    def publish_endpoint(self, endpoint_id: str, moved: bool = False) -> None:
        """Tell who watches endpoints; ``moved``: its tasks are shown otherwise now."""
        _tell(self._endpoints, None, endpoint_id, moved)

    def publish_outcomes(self, owner: str, group_id: str, items: list[OutcomeItem]) -> None:
        """Tell the group's subscribers and those of each task."""
        _tell(self._groups, (owner, group_id), items)
        if self._tasks:
            for item in items:
                _tell(self._tasks, item.task_id, item)

    def publish_events(self, task_id: str, events: list[tuple[int, Event]], last: bool) -> None:
        """Tell the task's followers."""
        _tell(self._events, task_id, events, last)


def _subscribe(table: dict[Hashable, list[Any]], key: Hashable, callback: Callable[..., None]) -> Unsubscribe:
    table.setdefault(key, []).append(callback)

    def unsubscribe() -> None:
        callbacks = table.get(key)
        if callbacks is not None and callback in callbacks:
            callbacks.remove(callback)
            if not callbacks:
                del table[key]

    return unsubscribe


def _tell(table: dict[Hashable, list[Any]], key: Hashable, *what: Any) -> None:
    for callback in tuple(table.get(key, ())):
        try:
            callback(*what)
        except Exception:
            log.exception("A subscriber failed")
