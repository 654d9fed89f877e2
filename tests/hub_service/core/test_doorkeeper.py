"""Which connections are too many: no sockets, no clock."""

from __future__ import annotations

from funcx_lab_hub_service.forwarder.doorkeeper import FROM_ONE, GRACE_S, HANDSHAKE_S, IN_ALL, Doorkeeper


def test_one_address_may_shake_few_hands_at_once() -> None:
    door = Doorkeeper(10_000)
    assert [door.accepted(n, "evil", 0.0) for n in range(FROM_ONE)] == [None] * FROM_ONE
    assert door.accepted(FROM_ONE, "evil", 0.5) == FROM_ONE, "many good agents may come at once: the newest"
    assert door.accepted(5000, "good", 0.5) is None
    assert door.accepted(FROM_ONE, "evil", GRACE_S) == 0, "who takes long gives way"
    assert len(door) == FROM_ONE + 1


def test_all_addresses_together_may_shake_few_hands_at_once() -> None:
    door = Doorkeeper(10_000)
    for n in range(IN_ALL):
        assert door.accepted(n, f"10.0.0.{n}", 0.0) is None
    assert door.accepted(9999, "another", GRACE_S) == 0


def test_agents_that_are_in_do_not_count_as_waiting() -> None:
    door = Doorkeeper(10_000)
    for n in range(3 * FROM_ONE):
        assert door.accepted(n, "site", 0.0) is None
        door.spoke(n)
    # One that has passed its handshake and says nothing is in as well.
    for n in range(FROM_ONE):
        assert door.accepted(1000 + n, "site", 0.0) is None
    assert door.accepted(2000, "site", HANDSHAKE_S + 2) is None


def test_no_more_than_the_limit_in_all() -> None:
    door = Doorkeeper(2)
    for n in range(2):
        door.accepted(n, "site", 0.0)
        door.spoke(n)
    assert door.accepted(7, "site", 0.0) == 7
    door.closed(1)
    assert door.accepted(8, "site", 0.0) is None


def test_a_descriptor_that_is_used_again_is_another_connection() -> None:
    door = Doorkeeper(10)
    door.accepted(3, "site", 0.0)
    door.spoke(3)
    door.accepted(3, "other", 1.0)
    assert len(door) == 1
    door.closed(3)
    door.closed(3)
    assert len(door) == 0
