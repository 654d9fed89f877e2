"""Token buckets: no clock, no I/O."""

from __future__ import annotations

import pytest

from funcx_lab_hub_service.limits import Buckets


def test_a_burst_then_a_steady_rate() -> None:
    buckets = Buckets(10.0, 3)
    assert [buckets.take("ada", 0.0) for _ in range(3)] == [0.0] * 3
    assert buckets.take("ada", 0.0) == pytest.approx(0.1)
    assert buckets.take("ada", 0.05) == pytest.approx(0.05)
    assert buckets.take("ada", 0.1) == 0.0
    assert buckets.take("ada", 0.1) > 0


def test_each_asker_has_a_bucket() -> None:
    buckets = Buckets(1.0, 1)
    assert (buckets.take("ada", 0.0), buckets.take("bob", 0.0)) == (0.0, 0.0)
    assert buckets.take("ada", 0.0) > 0


def test_a_pause_fills_it_to_the_burst_and_no_further() -> None:
    buckets = Buckets(10.0, 2)
    for _ in range(2):
        buckets.take("ada", 0.0)
    assert [buckets.take("ada", 1000.0) == 0.0 for _ in range(3)] == [True, True, False]


def test_a_clock_that_goes_back_takes_nothing_away() -> None:
    buckets = Buckets(1.0, 2)
    assert buckets.take("ada", 100.0) == 0.0
    assert buckets.take("ada", 0.0) == 0.0


def test_no_rate_is_no_limit() -> None:
    buckets = Buckets(0.0, 1)
    assert not any(buckets.take("ada", 0.0) for _ in range(1000))


def test_askers_are_forgotten() -> None:
    buckets = Buckets(1.0, 1)
    for number in range(50_000):
        buckets.take(number, number / 1000)
    assert len(buckets._left) <= 11_001
