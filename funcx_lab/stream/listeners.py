"""Who waits for tasks that were submitted elsewhere, and who follows events; no I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from funcx_lab.errors import FuncxLabError
from funcx_lab.protocol.stream import ClientMessage, Follow, OutcomeItem, TaskEvents, Watch
from funcx_lab.sinks import EventSink, TaskSink

#: Ids in one `Watch` or `CancelTasks`.
IDS_AT_ONCE = 10_000


@dataclass(slots=True)
class _Follower:
    position: int
    sink: EventSink


@dataclass
class Listeners:
    """Sinks by task id. What is asked of the service is for the caller to say."""

    _watched: dict[str, list[TaskSink]] = field(default_factory=dict)
    _followed: dict[str, list[_Follower]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._watched or self._followed)

    def watch(self, task_id: str, sink: TaskSink) -> None:
        """Add who waits for a task."""
        self._watched.setdefault(task_id, []).append(sink)

    def unwatch(self, task_id: str, sink: TaskSink) -> None:
        """Remove who waits for a task."""
        sinks = [other for other in self._watched.pop(task_id, ()) if other is not sink]
        if sinks:
            self._watched[task_id] = sinks

    def follow(self, task_id: str, after: int, sink: EventSink) -> None:
        """Add who follows a task's events behind ``after``."""
        self._followed.setdefault(task_id, []).append(_Follower(after, sink))

    def unfollow(self, task_id: str, sink: EventSink) -> bool:
        """Remove who follows a task; whether that was the last."""
        followers = self._followed.get(task_id, [])
        followers[:] = [follower for follower in followers if follower.sink is not sink]
        return not followers and self._followed.pop(task_id, None) is not None

    def messages(self, is_known: Callable[[str], bool]) -> Iterator[ClientMessage]:
        """Ask for everything again, of tasks that the service can know."""
        watched = [task_id for task_id in self._watched if is_known(task_id)]
        for start in range(0, len(watched), IDS_AT_ONCE):
            yield Watch(watched[start : start + IDS_AT_ONCE])
        for task_id, followers in self._followed.items():
            if is_known(task_id):
                yield _follow(task_id, followers)

    def messages_for(self, task_id: str) -> Iterator[ClientMessage]:
        """Ask for one task, which the service knows from now on."""
        if task_id in self._watched:
            yield Watch([task_id])
        if followers := self._followed.get(task_id):
            yield _follow(task_id, followers)

    def ended(self, item: OutcomeItem) -> None:
        """Tell how a task ended."""
        for sink in self._watched.pop(item.task_id, ()):
            sink.finish(item)

    def cancelled(self, task_id: str) -> None:
        """Tell that a task was cancelled before the service heard of it."""
        for sink in self._watched.pop(task_id, ()):
            sink.ended_by_cancel()
        for follower in self._followed.pop(task_id, ()):
            follower.sink.push((), last=True)

    def events(self, message: TaskEvents) -> None:
        """Tell each follower what it has not heard yet."""
        followers = self._followed.get(message.task_id, [])
        if message.last:
            self._followed.pop(message.task_id, None)
        for follower in followers:
            fresh = [item for item in message.events if item[0] > follower.position]
            if fresh:
                follower.position = fresh[-1][0]
            if fresh or message.last:
                follower.sink.push(fresh, message.last)

    def fail(self, task_id: str, error: FuncxLabError) -> None:
        """Tell why nothing will come of a task."""
        for sink in self._watched.pop(task_id, ()):
            sink.fail(error)
        for follower in self._followed.pop(task_id, ()):
            follower.sink.fail(error)

    def fail_all(self, error: FuncxLabError) -> None:
        """Tell everybody why nothing will come."""
        for task_id in [*self._watched, *self._followed]:
            self.fail(task_id, error)


def _follow(task_id: str, followers: list[_Follower]) -> Follow:
    return Follow(task_id, min(follower.position for follower in followers))
