"""What dashboards remember: bounded, in memory, and right about time whatever the clocks say."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from funcx_lab.protocol.messages import ErrorInfo, ObjectRef, Outcome, ResultItem, TaskItem
from funcx_lab.protocol.stream import NewTask, OutcomeItem
from funcx_lab_hub_service.dashboards import scaling_log, tallies, timings
from funcx_lab_hub_service.dashboards.history import History
from funcx_lab_hub_service.dashboards.look import DARK, LIGHT, Look
from funcx_lab_hub_service.dashboards.scaling_log import ScalingLog
from funcx_lab_hub_service.dashboards.tallies import STEP_S, Tallies
from funcx_lab_hub_service.dashboards.timings import STAGES, Timings
from funcx_lab_hub_service.store.outcomes import Ended


def end(task_id: str, state: str = "success", owner: str = "ada", **more: Any) -> Ended:
    item = OutcomeItem(1, task_id, state, endpoint_id="ep", times=(50.0, 100.0, 100.25), **more)
    return Ended(owner, "group", item, [], 0, 1, 10)


class Clock:
    """Monotonic seconds that pass when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(timings.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def travel(timed: Timings, clock: Clock, task_id: str = "a", held_s: float = 0.5) -> None:
    timed.submitted(task_id, 0.01)
    clock.now += 0.02
    timed.dispatched([TaskItem(task_id, 1, "f")])
    clock.now += 0.6
    timed.arrived([ResultItem(task_id, 1, "run", Outcome(True), None, held_s)])
    clock.now += 0.03
    timed.told(timed.ended([end(task_id)]))


def test_each_stage_is_what_one_clock_measured(clock: Clock) -> None:
    timed = Timings()
    travel(timed, clock)  # the worker's clock says 100.00 to 100.25: 900 s before ours
    (call,) = timed.of("ada", None)
    assert list(STAGES) == ["SDK", "service", "link", "engine", "execution", "return"]
    assert call.stages == pytest.approx((0.01, 0.02, 0.1, 0.25, 0.25, 0.03))
    assert call.total == pytest.approx(0.01 + 0.02 + 0.6 + 0.03)
    assert timed.of("bob", None) == timed.of("ada", "another endpoint") == []


def test_an_agent_that_says_too_much_cannot_make_time(clock: Clock) -> None:
    timed = Timings()
    for held_s in (1e9, float("inf")):
        travel(timed, clock, held_s=held_s)
    for call in timed.of("ada", None):
        assert call.total == pytest.approx(0.66)
        assert min(call.stages) >= 0
    travel(timed, clock, held_s=float("nan"))
    travel(timed, clock, held_s=0.0)  # an agent of the last release
    assert len(timed.of("ada", None)) == 2


def test_open_timings_are_bounded(clock: Clock) -> None:
    timed = Timings()
    for number in range(timings.OPEN_LIMIT + 10):
        timed.submitted(str(number), 0.0)
    assert len(timed._open) == timings.OPEN_LIMIT
    clock.now += timings.OPEN_S + 1
    timed.submitted("later", 0.0)
    assert "later" in timed._open
    assert len(timed._open) == timings.OPEN_LIMIT


def test_only_the_first_task_of_a_message_is_timed() -> None:
    history = History()
    history.submitted([NewTask("a"), NewTask("b"), NewTask("c")], 0.1)
    assert list(history.timings._open) == ["a"]


def test_ended_tasks_are_counted_by_owner_and_endpoint() -> None:
    now = 1_000_000.0
    history = History(lambda: now)
    failed = end("b", "failed", error=ErrorInfo("WORKER_LOST", "gone"))
    stored = end("c", object=ObjectRef("0" * 64, 5000))

    async def tell() -> None:
        history.ended(
            [end("a", payload=b"four"), failed, stored, end("d", "cancelled"), end("e", owner="bob")]
        )

    asyncio.run(tell())
    (tally,) = history.tallies.since("ada", None, 0)
    assert (tally.succeeded, tally.failed, tally.stopped) == (2, 1, 1)
    assert (tally.sent, tally.returned) == (40, 5004)
    assert tally.failures == {"WORKER_LOST": 1}
    assert history.tallies.since("ada", "another", 0) == []
    assert history.tallies.since("bob", "ep", 0)[0].succeeded == 1


def test_ids_are_gathered_only_for_who_looks() -> None:
    history = History(lambda: 0.0)
    from collections import deque

    history.news["bob"] = deque(maxlen=2)

    async def tell() -> None:
        history.ended([end("a"), *(end(each, owner="bob") for each in "bcd")])

    asyncio.run(tell())
    assert {owner: list(ids) for owner, ids in history.news.items()} == {"bob": ["c", "d"]}


def test_tallies_are_bounded() -> None:
    counts = Tallies()
    for step in range(tallies.STEPS + 50):
        counts.now("ada", "ep", step * STEP_S).count("success", "", 1, 1)
    kept = counts.since("ada", None, 0)
    assert len(kept) == tallies.STEPS
    assert kept[-1].start == (tallies.STEPS + 49) * STEP_S
    for number in range(tallies.PAIRS_LIMIT + 5):
        counts.now("ada", f"ep{number}", 0.0)
    assert len(counts._steps) == tallies.PAIRS_LIMIT
    many = counts.now("ada", "ep", 0.0)
    for number in range(100):
        many.count("failed", f"CODE_{number}", 0, 0)
    assert len(many.failures) == tallies.KINDS_LIMIT + 1
    assert many.failures["OTHER"] == 100 - tallies.KINDS_LIMIT


def blocks(**states: str) -> dict[str, Any]:
    return {
        name: {"state": state, "reason": "Priority" if state == "pending" else ""}
        for name, state in states.items()
    }


def test_every_step_of_scaling_has_its_reason() -> None:
    log = ScalingLog()

    def beat(now: float, *, online: bool = True, reason: str = "", **status: Any) -> None:
        log.note("ep", now, online=online, reason=reason, status=status)

    beat(0.0, blocks={}, queued=0)
    beat(5.0, blocks=blocks(a="pending"), queued=12, workers=0)
    beat(10.0, blocks=blocks(a="running"), queued=12, workers=4, managers=1, busy=4)
    beat(15.0, blocks={}, queued=0)
    beat(20.0, online=False, reason="endpoint offline since noon")
    told = [(step.change, step.what, step.reason) for step in log.steps("ep", 0.0)]
    assert told == [
        ("out", "block a asked for (pending)", "Priority; 12 calls wait for 0 workers"),
        ("up", "block a running", ""),
        ("in", "block a released", "no call waited for it"),
        ("away", "endpoint offline", "endpoint offline since noon"),
    ]
    sizes = {size.time: size for size in log.sizes("ep", 0.0)}
    assert (sizes[10.0].blocks, sizes[10.0].nodes, sizes[10.0].workers, sizes[10.0].busy) == (1, 1, 4, 4)
    assert sizes[20.0].workers == 0


def test_quiet_hours_take_little_and_what_an_endpoint_says_is_bounded() -> None:
    log = ScalingLog()
    for beat in range(5000):  # almost seven hours
        log.note(
            "ep", 5.0 * beat, online=True, reason="", status={"workers": 2, "blocks": blocks(a="running")}
        )
    assert len(log._endpoints["ep"].sizes) < 1000
    assert log.sizes("ep", 0.0)[-1].time == 5.0 * 4999
    nonsense: list[dict[str, Any]] = [
        {"workers": "many", "busy": -1, "blocks": [1, 2]},
        {
            "workers": float("nan"),
            "queued": float("inf"),
            "blocks": {"a": 7, "b" * 500: {"reason": "c" * 10_000}},
        },
    ]
    for number, status in enumerate(nonsense):
        log.note("evil", float(number), online=True, reason="x" * 10_000, status=status)
    assert log.sizes("evil", 0.0)[-1].workers == 0
    assert max(len(step.what) + len(step.reason) for step in log.steps("evil", 0.0)) < 500
    for number in range(scaling_log.ENDPOINTS_LIMIT + 3):
        log.note(f"ep{number}", 0.0, online=True, reason="", status={})
    assert len(log._endpoints) == scaling_log.ENDPOINTS_LIMIT


def luminance(color: str) -> float:
    parts = [int(color[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("look", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_stand_out_from_the_page(look: Look) -> None:
    def contrast(color: str) -> float:
        bright, dark = sorted((luminance(color), luminance(look.page)), reverse=True)
        return (bright + 0.05) / (dark + 0.05)

    shapes = (look.success, look.running, look.failed, look.stopped, look.waiting, *look.lines)
    assert min(map(contrast, shapes)) >= 3
    assert min(map(contrast, (look.text, look.quiet))) >= 4.5
