"""Whether a call fits an endpoint, which endpoint to take, and how long an answer counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from funcx_lab.environments.book import FRESH_S, UNKNOWN_S, EnvironmentBook
from funcx_lab.environments.check import check_function
from funcx_lab.environments.preflight import Candidate, compare, fitting, proposals
from funcx_lab.errors import EnvMismatch, ServiceUnreachable
from funcx_lab.protocol.environment import Environment
from funcx_lab.protocol.payload import PYTHON

THERE = Environment(
    "worker",
    f"{PYTHON}.1",
    "a" * 64,
    {"torch": "2.4.1", "scikit-learn": "1.5", "numpy": "1.26"},
    {"torch": "torch", "sklearn": "scikit-learn", "numpy": "numpy", "local": ""},
)
OLD = msgspec.structs.replace(THERE, python="3.7.1")
HERE = {"torch": "1.13", "scikit-learn": "1.2", "numpy": "2.1"}


def here(package: str) -> str:
    return HERE.get(package, "")


def test_what_is_not_there_is_missing() -> None:
    findings = compare(THERE, {"torch", "jax", "local", "numba"}, here=here)
    assert (findings.missing, findings.fits, findings.lacks()) == (("jax", "numba"), False, "jax, numba")


def test_another_major_version_is_told_and_fits() -> None:
    findings = compare(THERE, {"torch", "sklearn", "numpy", "local"}, here=here)
    assert findings.fits
    assert findings.differing == ("numpy 2.1 here, 1.26 there", "torch 1.13 here, 2.4.1 there")


@pytest.mark.parametrize("bound", [False, True])
def test_another_python_is_refused_for_bytecode_only(bound: bool) -> None:
    findings = compare(OLD, set(), bound=bound, here=here)
    assert findings.fits is not bound
    assert findings.differing == (f"Python {PYTHON} here, 3.7 there",)
    assert bool(findings.lacks()) is bound


def test_an_agents_own_environment_is_not_certain() -> None:
    agents = msgspec.structs.replace(THERE, source="agent")
    assert not compare(agents, {"jax"}).is_certain
    assert compare(THERE, {"jax"}).is_certain


def candidate(name: str, environment: Environment | None = THERE, **details: Any) -> Candidate:
    return Candidate(name, environment, details)


def names(candidates: list[Candidate]) -> list[str]:
    return [each.name for each in candidates]


def test_the_endpoint_with_the_fewest_waiting_tasks_comes_first_then_that_with_the_most_free_workers() -> (
    None
):
    waiting = candidate("waiting", queued=3, workers=8)
    busy = candidate("busy", queued=0, workers=4, busy=4, limit=4)
    free = candidate("free", queued=0, workers=0, busy=0, limit=2)
    odd = candidate("odd", queued="many", workers=None, busy=True)
    silent = candidate("silent", None, workers=64)
    assert names(fitting([waiting, busy, free, odd, silent], {"torch"})) == [
        *("free", "busy", "odd", "waiting", "silent")
    ]
    assert free.reason({"torch"}) == "has torch 2.4.1; 2 workers free"
    assert waiting.reason(set()) == "3 tasks waiting"


def test_only_endpoints_that_are_known_to_fit_are_proposed() -> None:
    found = [candidate("small", msgspec.structs.replace(THERE, modules={})), candidate("lab-ws")]
    found += [candidate("silent", None), candidate("old", OLD)]
    assert proposals(found, {"torch"}, bound=True) == ["lab-ws has torch 2.4.1: %%funcx lab-ws"]


class Service:
    """Answers what it is told to and counts."""

    def __init__(self, environment: Any = THERE, state: str = "online") -> None:
        self.document = {"name": "cluster", "state": state, "environment": msgspec.to_builtins(environment)}
        self.asked = 0
        self.now = 0.0
        self.error: ServiceUnreachable | None = None
        self.book = EnvironmentBook(self.fetch, lambda: self.now)

    def fetch(self, endpoint: str) -> Mapping[str, Any]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return self.document


def test_an_answer_counts_for_a_minute() -> None:
    service = Service()
    for moment in (0.0, 1.0, FRESH_S):
        service.now = moment
        assert service.book.get("cluster").environment == THERE
    assert service.asked == 1
    service.now = FRESH_S + 1
    service.book.get("cluster")
    service.book.get("cluster", fresh=True)
    assert service.asked == 3


def test_an_endpoint_that_told_nothing_is_asked_again_soon() -> None:
    service = Service(None)
    assert service.book.get("cluster").environment is None
    service.now = UNKNOWN_S + 1
    service.book.get("cluster")
    assert service.asked == 2


def test_a_service_that_does_not_answer_is_no_obstacle() -> None:
    service = Service()
    service.error = ServiceUnreachable()
    assert service.book.get("cluster") == ("cluster", "unknown", None)
    check_function(service.book, "cluster", needs_jax)


@pytest.mark.parametrize("odd", [{}, {"python": 3}, [], "x"], ids=str)
def test_an_environment_that_cannot_be_read_is_none(odd: Any) -> None:
    service = Service(odd)
    assert service.book.get("cluster").environment is None


def needs_jax() -> None:
    import jax  # type: ignore[import-not-found,unused-ignore]  # noqa: F401  # not installed


def needs_numpy() -> None:
    import numpy  # noqa: F401  # read, not run


def test_a_function_is_refused_with_what_it_lacks() -> None:
    service = Service()
    check_function(service.book, "cluster", needs_numpy)
    with pytest.raises(EnvMismatch, match="`needs_jax` needs jax, which cluster does not have") as caught:
        check_function(service.book, "cluster", needs_jax)
    assert caught.value.details == {"endpoint": "cluster", "missing": ["jax"], "python": ""}


def test_nothing_is_refused_on_what_may_have_changed_since() -> None:
    service = Service()
    assert "jax" not in (service.book.get("cluster").environment or OLD).modules
    service.document["environment"] = msgspec.to_builtins(
        msgspec.structs.replace(THERE, modules={"jax": "jax"})
    )
    check_function(service.book, "cluster", needs_jax)
    assert service.asked == 2


@pytest.mark.parametrize("state", ["offline", "registered"])
def test_an_endpoint_that_is_away_is_not_judged(state: str) -> None:
    check_function(Service(state=state).book, "cluster", needs_jax)
