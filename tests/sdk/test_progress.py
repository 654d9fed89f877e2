"""How far a map is, in words and as a bar."""

from hypothesis import given
from hypothesis import strategies as st

from funcx_lab.maps.progress import WIDTH, Failures, Progress

COUNTS = st.integers(0, 10_000)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_a_bar_is_never_longer_and_full_only_at_the_end(done, failed, running, waiting) -> None:
    progress = Progress(done, failed, running, done + failed + running + waiting)
    bar = progress.bar()
    assert len(bar) == WIDTH
    assert (set(bar) <= {"█", "▒"}) == progress.is_complete


def test_words_name_what_there_is() -> None:
    assert Progress(5, 0, 0, 9).words() == "5/9"
    assert Progress(5, 2, 1, 9).words() == "7/9 · 2 failed · 1 running"


def test_failures_are_counted_by_type_and_the_first_is_shown_in_full() -> None:
    failures = Failures({7: ValueError("b"), 2: KeyError("a"), 9: ValueError("c")})
    assert failures.by_type == {"ValueError": 2, "KeyError": 1}
    assert repr(failures) == "3 failed: ValueError × 2, KeyError\nThe first, item 2:\nKeyError: 'a'"
    assert repr(Failures()) == "No item failed."


def test_html_has_the_bar_and_no_markup_of_others() -> None:
    shown = Progress(1, 1, 0, 2).html(3, "<b>note</b>")
    assert "█" in shown
    assert "failed" in shown
    assert "&lt;b&gt;note" in shown
