"""How items are spread over tasks, and which task answers for an item."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funcx_lab.errors import UsageError
from funcx_lab.maps.plan import MOST_TASKS, Span, answering, spread, spread_again


@given(st.integers(0, 5000), st.none() | st.integers(1, 600))
def test_each_item_is_in_exactly_one_task(total, chunksize) -> None:
    spans = spread(total, chunksize)
    assert [item for span in spans for item in range(span.first, span.first + span.size)] == list(
        range(total)
    )
    assert chunksize is not None or len(spans) <= MOST_TASKS


def test_few_items_travel_one_by_one() -> None:
    assert {span.size for span in spread(MOST_TASKS, None)} == {1}
    assert {span.size for span in spread(MOST_TASKS + 1, None)} == {1, 2}


@pytest.mark.parametrize("chunksize", [0, -1, 1.5, True, "2"])
def test_a_chunksize_is_a_whole_number_above_zero(chunksize) -> None:
    with pytest.raises(UsageError, match="chunksize"):
        spread(10, chunksize)


@given(st.sets(st.integers(0, 3000)))
def test_what_failed_runs_again_and_nothing_else(failed) -> None:
    items = sorted(failed)
    spans = spread_again(items)
    assert [item for span in spans for item in range(span.first, span.first + span.size)] == items
    assert len(items) > MOST_TASKS or all(span.size == 1 for span in spans)


def test_many_neighbours_that_failed_share_tasks() -> None:
    assert spread_again(range(2 * MOST_TASKS))[:2] == [Span(0, 2), Span(2, 2)]


def test_the_latest_task_answers_for_an_item() -> None:
    records = [
        {"task_id": "a", "items": [0, 3, 5]},
        {"task_id": "b", "items": [3, 2, 5]},
        {"task_id": "other", "items": None},
        {"task_id": "c", "items": [1, 1, 5]},
        {"task_id": "d", "items": [3, 2, 5]},
    ]
    assert answering(records) == {"a": [0, 2], "c": [1], "d": [3, 4]}
