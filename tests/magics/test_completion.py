"""What the Tab key offers."""

from __future__ import annotations

import threading

import pytest

from funcx_lab_magics.completion import EndpointNames, candidates

BODY = "model = fit(data, rate)\nscore = model.score\n"
ENDPOINTS = ["cluster-cpu", "cluster-gpu", "local"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("%%funcx ", ["auto", *ENDPOINTS]),
        ("%%funcx local ", []),
        ("%autofuncx clu", ["cluster-cpu", "cluster-gpu"]),
        ("%autofuncx local -o n", ["none"]),
        ("%funcx run clu", ["cluster-cpu", "cluster-gpu"]),
        ("%funcx run -b --on-interrupt d", ["detach"]),
        ("%funcx retry 0", ["0a1b2c3d"]),
        ("%funcx retry last l", ["local"]),
        ("%funcx cancel last 0", ["0a1b2c3d"]),
        ("%funcx functions ", []),
        ("%funcx login ", []),
        ("%%funcx clu", ["cluster-cpu", "cluster-gpu"]),
        ("%%funcx -b clu", ["cluster-cpu", "cluster-gpu"]),
        ("%%funcx -e lo", ["local"]),
        ("%%funcx --on-interrupt ", ["cancel", "detach"]),
        ("%%funcx --dr", ["--dry-run"]),
        ("%%funcx -i d", ["data"]),
        ("%%funcx -i data,", ["data,fit", "data,rate"]),
        ("%%funcx -o ", ["model", "score", "auto", "none", "'*'"]),
        ("%%funcx -o model,s", ["model,score"]),
        ("%%funcx -n ", []),
        ("%funcx st", ["status"]),
        ("%funcx status l", ["local"]),
        ("%funcx cancel ", ["last", "0a1b2c3d"]),
        ("%funcx cancel --a", ["--all"]),
        ("%funcx endpoints ", []),
    ],
)
def test_candidates(text: str, words: list[str]) -> None:
    found = candidates(text, BODY, lambda: ENDPOINTS, lambda: ["0a1b2c3d"])
    assert found is not None
    assert found[1] == words


@pytest.mark.parametrize(
    "text",
    [
        *("", "x = 1", "%%funcxy ", "%%funcx", "%time f", "%funcx nothing "),
        # IPython knows the names of the notebook
        *("%funcx explain d", "%funcx register f", "%funcx run sum(d", "%funcx run local -- clu"),
    ],
)
def test_other_lines_are_left_alone(text: str) -> None:
    assert candidates(text, BODY, lambda: ENDPOINTS, list) is None


def test_a_cell_that_does_not_parse_offers_no_names() -> None:
    assert candidates("%%funcx -i ", "def (", lambda: ENDPOINTS, list) == ("", [])


def test_names_are_asked_for_once_while_fresh() -> None:
    calls = []

    def fetch() -> list[str]:
        calls.append(1)
        return ["b", "a"]

    names = EndpointNames(fetch)
    assert names.get() == ["a", "b"]
    assert names.get() == ["a", "b"]
    assert len(calls) == 1


def test_a_slow_service_does_not_hold_up_a_key_press() -> None:
    release = threading.Event()

    def fetch() -> list[str]:
        release.wait(10)
        return ["late"]

    names = EndpointNames(fetch)
    assert names.get() == []
    release.set()
    assert names._fetching is not None
    names._fetching.join(10)
    assert names.get() == ["late"]


def test_a_service_that_fails_gives_no_names() -> None:
    def fetch() -> list[str]:
        raise OSError("down")

    assert EndpointNames(fetch).get() == []
