"""The outbox and the subscriptions on their own: bounds, splitting, no gap, nothing twice."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from funcx_lab.protocol.messages import ErrorInfo, Event
from funcx_lab.protocol.stream import (
    STREAM_LIMIT,
    OutcomeItem,
    Outcomes,
    Refusal,
    Submitted,
    TaskEvents,
    service_codec,
)
from funcx_lab_hub_service.auth.principals import Principal
from funcx_lab_hub_service.feed import Feed
from funcx_lab_hub_service.handlers.outbox import SLOW, STUCK, Outbox, weight
from funcx_lab_hub_service.handlers.replay import GroupReplay

ADA = Principal("ada")


class Wire:
    """A client that takes frames when it is told to."""

    def __init__(self, reads: bool = True) -> None:
        self.frames: list[bytes] = []
        self.closed = 0
        self._reads = asyncio.Event()
        if reads:
            self._reads.set()
        self.outbox = Outbox(self._write, self._close)

    def read(self) -> None:
        self._reads.set()

    async def _write(self, frame: bytes) -> None:
        await self._reads.wait()
        self.frames.append(frame)

    def _close(self) -> None:
        self.closed += 1

    @property
    def messages(self) -> list[Any]:
        return [service_codec.decode(frame) for frame in self.frames]

    @property
    def cursors(self) -> list[int]:
        return [
            item.cursor
            for message in self.messages
            if isinstance(message, Outcomes)
            for item in message.items
        ]


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


def items(first: int, last: int, size: int = 0) -> list[OutcomeItem]:
    return [OutcomeItem(number, str(number), "success", bytes(size)) for number in range(first, last + 1)]


def test_outcomes_of_a_loop_turn_share_a_message() -> None:
    async def check() -> None:
        wire = Wire()
        wire.outbox.outcomes(items(1, 2))
        wire.outbox.outcomes(items(3, 3))
        await settle()
        assert len(wire.frames) == 1
        assert wire.cursors == [1, 2, 3]

    asyncio.run(check())


def test_an_acknowledgement_rides_with_the_outcomes_of_its_turn() -> None:
    async def check() -> None:
        wire = Wire()
        wire.outbox.outcomes(items(1, 1))
        wire.outbox.submitted(7, [])
        await settle()
        assert [(message.items[0].cursor, message.submitted) for message in wire.messages] == [(1, [7])]

    asyncio.run(check())


def test_an_acknowledgement_without_outcomes_or_with_refusals_goes_alone() -> None:
    async def check() -> None:
        wire = Wire()
        wire.outbox.submitted(7, [])
        wire.outbox.outcomes(items(1, 1))
        wire.outbox.submitted(8, [Refusal("a", {})])
        await settle()
        submitted = [message for message in wire.messages if isinstance(message, Submitted)]
        assert submitted == [Submitted(7), Submitted(8, [Refusal("a", {})])]
        assert wire.cursors == [1]

    asyncio.run(check())


def test_messages_stay_below_the_limit() -> None:
    async def check() -> None:
        wire = Wire()
        wire.outbox.outcomes(items(1, 40, size=250_000))
        wire.outbox.events("t", [(seq, Event(0.0, "display", "x" * 700_000)) for seq in range(12)], last=True)
        await settle()
        assert max(map(len, wire.frames)) <= STREAM_LIMIT
        assert wire.cursors == list(range(1, 41))
        told = [message for message in wire.messages if isinstance(message, TaskEvents)]
        assert [seq for message in told for seq, _ in message.events] == list(range(12))
        assert [message.last for message in told] == [False] * (len(told) - 1) + [True]

    asyncio.run(check())


@pytest.mark.parametrize("text", ["a", "\u00e9", "\U0001f600"])
def test_the_weight_is_no_less_than_the_bytes(text: str) -> None:
    error = ErrorInfo("TASK_FAILED", text * 1000, text * 10, text * 5000)
    item = OutcomeItem(2**60, "x" * 36, "failed", b"p" * 1000, None, error, "e" * 36)
    assert weight(item) >= len(service_codec.encode(Outcomes([item])))


def test_a_client_that_never_reads_is_left() -> None:
    async def check() -> None:
        wire = Wire(reads=False)
        for number in range(2 * STUCK // 1_000_000):
            wire.outbox.outcomes(items(number, number, size=1_000_000))
            await asyncio.sleep(0)
        assert wire.closed == 1
        wire.read()
        await settle()
        assert sum(map(len, wire.frames)) <= STUCK

    asyncio.run(check())


class Shelf:
    """Outcomes as the store and the feed tell them."""

    def __init__(self) -> None:
        self.committed: list[OutcomeItem] = []
        self.reads = 0
        self.feed = Feed()
        self.services: Any = SimpleNamespace(feed=self.feed, tasks=self)

    def outcomes_after(
        self, principal: Principal, group_id: str, cursor: int, limit: int
    ) -> list[OutcomeItem]:
        self.reads += 1
        return [item for item in self.committed if item.cursor > cursor][:limit]

    def tell(self, news: list[OutcomeItem]) -> None:
        self.feed.publish_outcomes("ada", "g", news)

    def commit(self, news: list[OutcomeItem]) -> None:
        self.committed += news
        self.tell(news)


def test_what_was_read_before_it_was_told_comes_once() -> None:
    async def check() -> None:
        shelf, wire = Shelf(), Wire()
        shelf.committed += items(1, 3)
        replay = GroupReplay(shelf.services, ADA, wire.outbox, "g", 0)
        shelf.tell(items(2, 3))  # committed before the subscription, told after it
        shelf.commit(items(4, 5))
        await settle()
        assert wire.cursors == [1, 2, 3, 4, 5]
        replay.stop()
        shelf.commit(items(6, 6))
        await settle()
        assert wire.cursors == [1, 2, 3, 4, 5]

    asyncio.run(check())


def test_what_is_told_while_pages_are_read_comes_once_in_order() -> None:
    async def check() -> None:
        shelf, wire = Shelf(), Wire()
        shelf.committed += items(1, 1000)
        GroupReplay(shelf.services, ADA, wire.outbox, "g", 10)
        for number in range(1001, 1200):
            shelf.commit(items(number, number))
            await asyncio.sleep(0)
        await settle()
        assert wire.cursors == list(range(11, 1200))

    asyncio.run(check())


def test_a_slow_client_is_read_to_from_the_store_later() -> None:
    async def check() -> None:
        shelf, wire = Shelf(), Wire(reads=False)
        GroupReplay(shelf.services, ADA, wire.outbox, "g", 0)
        for number in range(1, 201):  # 50 MB, more than is ever kept for a client
            shelf.commit(items(number, number, size=250_000))
            await asyncio.sleep(0)
        assert wire.outbox.is_slow
        assert wire.closed == 0
        held = wire.outbox._unsent
        assert held < SLOW + 1_000_000
        wire.read()
        for _ in range(500):
            await settle()
        assert wire.cursors == list(range(1, 201))
        assert wire.closed == 0

    asyncio.run(check())


def test_a_great_commit_is_read_from_the_store_in_pages() -> None:
    async def check() -> None:
        shelf, wire = Shelf(), Wire()
        GroupReplay(shelf.services, ADA, wire.outbox, "g", 0)
        shelf.commit(items(1, 10))
        shelf.commit(items(11, 300, size=250_000))  # 70 MB at once
        shelf.commit(items(301, 310))
        for _ in range(500):
            await settle()
        assert wire.cursors == list(range(1, 311))
        assert wire.closed == 0

    asyncio.run(check())
