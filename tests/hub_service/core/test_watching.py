"""What a page is told and when: states, not steps; bounded, paced, and tried again."""

from __future__ import annotations

import random

import pytest

from funcx_lab_hub_service.watching import MOST_TASKS, SHARE, Changes, Kind, in_messages


def told(changes: Changes, now: float, took_s: float = 0.0) -> set[Kind]:
    """Tell what is due at ``now``."""
    kinds = changes.take(now)
    for kind in kinds:
        changes.told(kind, now, took_s)
    return kinds


def settled() -> Changes:
    """Return what a page has that was told everything long ago."""
    changes = Changes()
    assert told(changes, -1000.0) == set(Kind)
    assert changes.batch().first
    assert changes.due() is None
    return changes


def test_a_task_that_changes_twice_is_told_once_in_the_order_of_its_last_change() -> None:
    changes = settled()
    changes.changed(["a", "b"])
    changes.changed(["a"])
    assert told(changes, 0.0) == set(Kind)
    batch = changes.batch()
    assert (batch.changed, batch.reload, batch.first) == (["b", "a"], False, False)
    assert changes.due() is None
    assert changes.batch().changed == []


def test_nothing_is_told_more_often_than_its_kind_allows() -> None:
    changes = settled()
    times: dict[Kind, list[float]] = {kind: [] for kind in Kind}
    for step in range(2000):
        now = step / 100
        changes.changed([str(step)])
        for kind in told(changes, now):
            times[kind].append(now)
    for kind, most in ((Kind.TASKS, 4), (Kind.COUNTS, 2), (Kind.ENDPOINTS, 2)):
        assert most * 20 * 0.9 < len(times[kind]) <= most * 20 + 1


def test_what_takes_long_is_told_less_often() -> None:
    changes = settled()
    changes.changed(["a"])
    assert told(changes, 0.0, took_s=0.5) == set(Kind)
    changes.changed(["a"])
    assert changes.due() == 0.5 / SHARE
    assert told(changes, 0.5 / SHARE - 0.01) == set()
    assert told(changes, 0.5 / SHARE) == set(Kind)


@pytest.mark.parametrize("what", ["changed", "gone"])
def test_more_than_fits_is_one_wish_to_fetch_again(what: str) -> None:
    changes = settled()
    getattr(changes, what)(map(str, range(MOST_TASKS)))
    assert not changes.batch().reload
    getattr(changes, what)(map(str, range(MOST_TASKS + 1)))
    changes.changed(["later"])
    batch = changes.batch()
    assert (batch.reload, batch.changed, batch.gone) == (True, [], [])
    changes.changed(["later still"])
    assert changes.batch().changed == ["later still"]


def test_what_is_kept_does_not_grow_while_a_page_pauses() -> None:
    changes = settled()
    changes.paused = True
    for step in range(20_000):
        changes.changed([f"task {step}"])
        changes.gone([f"old {step}"])
        changes.endpoint(f"endpoint {step}", moved=True)
        assert changes.due() is None
        assert changes.take(float(step)) == set()
    assert sum(map(len, (changes._changed, changes._gone, changes._places))) <= 3 * MOST_TASKS
    changes.paused = False
    assert told(changes, 1e6) == set(Kind)
    assert changes.batch().reload


def test_a_purged_task_is_not_told_as_changed() -> None:
    changes = settled()
    changes.changed(["a", "b"])
    changes.gone(["a"])
    batch = changes.batch()
    assert (batch.changed, batch.gone) == (["b"], ["a"])


def test_an_endpoints_heartbeat_touches_its_list_only() -> None:
    changes = settled()
    changes.endpoint("e", moved=False)
    assert told(changes, 0.0) == {Kind.ENDPOINTS}
    changes.endpoint("e", moved=True)
    assert told(changes, 1.0) == set(Kind)
    assert changes.batch().places == ["e"]


def test_what_failed_is_tried_again_ever_later_and_then_whole() -> None:
    changes = settled()
    changes.changed(["a"])
    now, waits = 0.0, []
    for _ in range(8):
        assert Kind.TASKS in changes.take(now)
        changes.failed(Kind.TASKS, changes.batch(), now)
        assert Kind.TASKS not in changes.take(now + 0.9)
        due = changes.due()
        assert due is not None
        waits.append(due - now)
        now = due
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert changes.batch().reload
    told(changes, now)
    changes.failed(Kind.TASKS, None, now)
    assert changes.due() == now + 1, "what has worked since begins anew"


def test_a_first_message_that_failed_is_still_the_first() -> None:
    changes = Changes()
    changes.take(0.0)
    changes.failed(Kind.TASKS, changes.batch(), 0.0)
    changes.changed(map(str, range(10_000)))
    assert changes.batch().first


def test_messages_hold_so_many_entries_and_bytes() -> None:
    seed = random.Random(7)
    for _ in range(300):
        entries = [bytes(seed.randrange(1, 40)) for _ in range(seed.randrange(60))]
        pieces = list(in_messages(entries, most=7, size=100))
        assert [entry for piece in pieces for entry in piece] == entries
        for piece in pieces:
            assert 1 <= len(piece) <= 7
            assert len(piece) == 1 or sum(map(len, piece)) <= 100
