"""Waiting for a task: what is shown, and what is said while nothing happens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from funcx_lab.protocol.messages import Event
from funcx_lab_magics import waiting
from funcx_lab_magics.replay import Replay


class FakeTask:
    task_id, endpoint = "0-3f2a91c0", "cluster"

    def __init__(self, events: list[Event | None]) -> None:
        self.events = events

    def wait_accepted(self) -> None:
        pass

    def follow(self) -> Iterator[Event | None]:
        yield from self.events

    def result(self) -> str:
        return "value"


def state(name: str, reason: str = "") -> Event:
    return Event(1.0, "state", {"state": name, "reason": reason})


def test_it_says_what_it_waits_for_and_takes_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PATIENCE_S", 0.0)
    events = [
        state("waiting-for-ep", "offline since 10:42"),
        None,
        state("waiting-for-launch"),
        state("running"),
    ]
    shown: list[Event] = []
    said: list[str] = []
    value = waiting.wait(FakeTask([*events, state("success")]), shown.append, said.append)  # type: ignore[arg-type]
    assert value == "value"
    assert said == ["waiting for the endpoint: offline since 10:42", "waiting for a worker", ""]
    assert len(shown) == 4


def test_a_quick_task_is_waited_for_in_silence() -> None:
    said: list[str] = []
    waiting.wait(FakeTask([state("running"), state("success")]), lambda event: None, said.append)  # type: ignore[arg-type]
    assert said == []


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
