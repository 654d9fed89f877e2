"""Waiting for a task: what is shown, and what is said while nothing happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from funcx_lab.errors import ServiceTimeout
from funcx_lab.protocol.messages import Event
from funcx_lab_magics.page.display import TaskView
from funcx_lab_magics.page.failures import CellInterrupted
from funcx_lab_magics.page.replay import Replay
from funcx_lab_magics.running import waiting
from funcx_lab_magics.running.progress import Progress


class FakeTask:
    task_id, endpoint = "0-3f2a91c0", "cluster"

    def __init__(self, events: list[Event | None], cancels: Callable[[], bool] = lambda: True) -> None:
        self.events, self.view = events, TaskView(self.task_id, self.endpoint)
        self.cancel = cancels

    def wait_accepted(self) -> None:
        pass

    def follow(self) -> Iterator[Event | None]:
        for event in self.events:
            if event is INTERRUPT:
                raise KeyboardInterrupt
            yield event

    def result(self) -> str:
        return "value"


#: Among a task's events: the user interrupts there.
INTERRUPT = Event(0.0, "interrupt", None)


def state(name: str, reason: str = "", at: float = 1.0) -> Event:
    return Event(at, "state", {"state": name, "reason": reason})


def out(at: float = 1.0) -> Event:
    return Event(at, "stdout", "x")


def test_progress_is_silent_until_the_task_is() -> None:
    progress = Progress(TaskView("t", "cluster", created=100.0), 2.0, 100.0)
    progress.hear(state("running", at=100.5), 100.5)
    assert progress.note(101.9) == ""
    progress.hear(out(101.9), 101.9)
    assert progress.note(103.8) == ""
    assert progress.note(103.9) == "▶ running · 0:03"


def test_progress_keeps_its_clock_and_tells_each_change_at_once() -> None:
    progress = Progress(TaskView("t", "cluster", created=100.0), 0.0, 100.0)
    progress.hear(state("waiting-for-ep", "offline since 10:42"), 100.0)
    away = "with -b the cell waits by itself; %funcx endpoints shows the others"
    assert progress.note(100.0) == f"◌ waiting for the endpoint · offline since 10:42 · 0:00 · {away}"
    progress.hear(out(), 101.5)  # what was shown once goes on
    assert " · 0:01 · " in progress.note(101.5)
    progress.hear(state("running", at=102.0), 102.0)
    assert progress.note(102.0) == "▶ running · 0:00"
    assert progress.note(102.9) == "▶ running · 0:00"
    assert progress.note(165.0) == "▶ running · 1:03"
    assert progress.note(174.0) == "▶ running · 1:03", "after a minute the clock is slow"
    assert progress.note(175.0) == "▶ running · 1:13"


def test_progress_of_minus_one_says_nothing() -> None:
    progress = Progress(TaskView("t", "cluster", created=100.0), -1.0, 100.0)
    progress.hear(state("running"), 100.0)
    assert progress.note(10_000.0) == ""


def test_progress_without_a_clock_tells_only_changes() -> None:
    progress = Progress(TaskView("t", "cluster", created=100.0), 2.0, 100.0, has_clock=False)
    progress.hear(state("waiting-for-launch"), 100.0)
    assert progress.note(102.0) == progress.note(150.0) == "◑ waiting for a worker · 0:02"
    progress.hear(state("running", at=160.0), 160.0)
    assert progress.note(161.0) == "▶ running · 0:01"


def test_waiting_shows_events_and_says_what_it_waits_for() -> None:
    shown: list[Event] = []
    said: list[str] = []
    events = [state("waiting-for-launch"), None, state("running"), out(), state("success")]
    value = waiting.wait(FakeTask(events), shown.append, said.append, patience_s=0.0)  # type: ignore[arg-type]
    assert value == "value"
    assert [text.rpartition(" · ")[0] for text in said] == [
        "◑ waiting for a worker",
        "▶ running",
        "✔ success",
    ]
    assert shown == [event for event in events if event is not None]


def test_a_quick_task_is_waited_for_in_silence() -> None:
    said: list[str] = []
    waiting.wait(FakeTask([state("running"), state("success")]), lambda event: None, said.append)  # type: ignore[arg-type]
    assert said == []


def interrupt(task: FakeTask, on_interrupt: str = "cancel") -> tuple[str, list[str]]:
    said: list[str] = []
    with pytest.raises(CellInterrupted) as caught:
        waiting.wait(task, lambda event: None, said.append, on_interrupt=on_interrupt)  # type: ignore[arg-type]
    return str(caught.value), said


def test_the_first_interrupt_cancels_and_says_so_before_the_answer() -> None:
    message, said = interrupt(FakeTask([INTERRUPT], lambda: True))
    assert message == "Cancelled …3f2a91c0 on cluster after 0 s."
    assert said == ["■ cancelling; interrupt once more to stop waiting for the answer", "■ cancelled"]


def test_the_second_interrupt_detaches() -> None:
    def cancel() -> bool:
        raise KeyboardInterrupt

    message, said = interrupt(FakeTask([INTERRUPT], cancel))
    assert message.startswith("Stopped waiting for …3f2a91c0 on cluster, which was asked to stop")
    assert len(said) == 1


def test_a_service_that_does_not_answer_leaves_the_task_in_doubt() -> None:
    def cancel() -> bool:
        raise ServiceTimeout("No answer.")

    message, _ = interrupt(FakeTask([INTERRUPT], cancel))
    assert message == "…3f2a91c0 on cluster may go on: No answer. %funcx cancel 3f2a91c0 asks once more."


def test_an_interrupt_that_detaches_cancels_nothing() -> None:
    def cancel() -> bool:
        raise AssertionError

    message, said = interrupt(FakeTask([INTERRUPT], cancel), "detach")
    assert "which goes on: %funcx attach 3f2a91c0 shows it" in message
    assert said == []


def test_an_interrupt_that_comes_too_late_says_so() -> None:
    message, _ = interrupt(FakeTask([INTERRUPT], lambda: False))
    assert "had already ended; %funcx result 3f2a91c0" in message


class Publisher:
    def __init__(self) -> None:
        self.calls: list[Any] = []

    def publish(self, **message: Any) -> None:
        self.calls.append(message)

    def clear_output(self, wait: bool) -> None:
        self.calls.append(wait)


def test_events_become_messages(capsys: pytest.CaptureFixture[str]) -> None:
    class Shell:
        display_pub = Publisher()

    replay = Replay(Shell, {"funcx": {"task_id": "t"}})
    bundle = {"data": {"text/plain": "x"}, "metadata": {"m": 1}, "transient": {"display_id": "d"}}
    for kind, data in [
        ("stdout", "out\r"),
        ("stderr", "err"),
        ("display", bundle),
        ("update_display", bundle),
        ("clear", {"wait": True}),
        ("progress", {"done": 1}),
        ("state", {"state": "running"}),
    ]:
        replay(Event(1.0, kind, data))
    assert capsys.readouterr() == ("out\r", "err")
    shown = {"data": {"text/plain": "x"}, "metadata": {"m": 1, "funcx": {"task_id": "t"}}}
    shown["transient"] = {"display_id": "d"}
    assert Shell.display_pub.calls == [{**shown, "update": False}, {**shown, "update": True}, True]
