"""One worker tells the environment that calls find, and tells it again when something was installed."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from funcx_lab.environments.report import look
from funcx_lab.protocol.environment import Environment
from funcx_lab_endpoint.engine.roster import Roster
from funcx_lab_endpoint.environments import Environments
from funcx_lab_endpoint.worker import messages as m
from funcx_lab_endpoint.worker import surveyor
from funcx_lab_endpoint.worker.surveyor import Surveyor

THERE = Environment("worker", "3.12.4", "5" * 64, {"torch": "2.4"}, {"torch": "torch"})
OTHER = msgspec.structs.replace(THERE, hash="6" * 64)


def until(condition: Callable[[], Any], limit: float = 20.0) -> Any:
    deadline = time.monotonic() + limit
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


# --- the worker ---------------------------------------------------------------------------------------


@pytest.fixture
def make_surveyor(monkeypatch: pytest.MonkeyPatch) -> Any:
    made: list[Surveyor] = []
    monkeypatch.setattr(surveyor, "PAUSE_S", 0.05)

    def make(**given: Any) -> Surveyor:
        made.append(Surveyor(**given))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_an_environment_is_told_once_and_again_after_an_installation(
    make_surveyor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    its = make_surveyor(is_wanted=True)
    first = until(its.take)
    assert first.source == "worker"
    assert its.take() is None
    monkeypatch.setattr(sys, "path", [])  # the user's code does what it likes
    about = tmp_path / "new-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Name: new\nVersion: 1.0\n")
    second = until(its.take)
    assert set(second.packages) - set(first.packages) == {"new"}


def test_only_the_one_that_is_asked_looks(make_surveyor: Any) -> None:
    looked: list[object] = []
    make_surveyor(is_wanted=True, look_around=lambda paths: (looked.append(1), THERE)[1])
    until(lambda: looked)
    its = make_surveyor(is_wanted=False, look_around=lambda paths: looked.append(2))
    assert its.take() is None
    assert 2 not in looked


def test_a_look_that_fails_harms_nothing(make_surveyor: Any, tmp_path: Path) -> None:
    looked: list[object] = []

    def fail(paths: object) -> Environment:
        looked.append(paths)
        raise OSError("a file system that is gone")

    its = make_surveyor(is_wanted=True, look_around=fail)
    until(lambda: looked)
    assert its.take() is None


def test_real_workers_report_once_for_all(make_driver: Any) -> None:
    driver = make_driver(workers=2)
    driver.until(lambda: driver.host.environment)
    reported = driver.host.environment
    assert reported == msgspec.structs.replace(look("worker"), modules=reported.modules)
    assert reported.version_of("msgspec") == msgspec.__version__


@pytest.mark.slow
def test_when_the_one_that_reports_dies_the_next_one_does(make_driver: Any) -> None:
    driver = make_driver(workers=1)
    driver.until(lambda: driver.host.environment)
    first = driver.host.environment
    os.kill(driver.value(os.getpid), signal.SIGKILL)
    assert driver.value(os.getpid)
    driver.until(lambda: driver.host.environment is not first)
    assert driver.host.environment == first


@pytest.mark.slow
def test_the_environment_is_that_of_worker_init(make_driver: Any, tmp_path: Path) -> None:
    (tmp_path / "only_there").mkdir()
    (tmp_path / "only_there" / "__init__.py").write_text("")
    driver = make_driver(
        f'Config(max_workers_per_node={{workers}}, worker_init="export PYTHONPATH={tmp_path} '
        f'CUDA_VISIBLE_DEVICES=3")'
    )
    driver.submit(os.getpid)
    driver.until(lambda: driver.host.environment, 60.0)
    reported = driver.host.environment
    assert "only_there" in reported.modules
    assert reported.visible_devices == "3"
    assert "only_there" not in look("agent").modules


# --- the agent ----------------------------------------------------------------------------------------


def test_one_session_at_a_time_is_chosen() -> None:
    roster = Roster()
    chosen = []
    for sid in ("a", "b", "c"):
        chosen.append(roster.wants_survey)
        roster.ask(sid, "mark", 0.0)
    assert chosen == [True, False, False]
    roster.drop("b", "", "mark", 1.0)
    assert not roster.wants_survey
    roster.drop("a", "", "mark", 1.0)
    assert roster.wants_survey


def test_what_was_reported_last_counts() -> None:
    roster = Roster()
    roster.hear([m.Bye("done")])
    assert roster.environment is None
    roster.hear([m.Surveyed(THERE), m.Bye("done")])
    assert roster.environment == THERE


def test_an_agent_tells_its_own_environment_until_a_worker_has_told_that_of_calls() -> None:
    environments = Environments({"result_bytes": 10})
    environments.note(None, 0)
    assert (environments.news(1), environments.summary) == (None, {})
    environments.start()
    until(lambda: environments.note(None, 2) or environments.summary)
    own = environments.news(1)
    assert own is not None
    assert (own.source, own.limits) == ("agent", {"result_bytes": 10, "workers": 2})
    environments.note(THERE, 2)
    news = environments.news(1)
    assert news is not None
    assert (news.source, environments.summary["environment_hash"]) == ("worker", THERE.hash)


def test_it_is_told_once_a_session_and_when_it_changes() -> None:
    environments = Environments({})
    environments.note(THERE, 1)
    assert environments.news(None) is None
    told = [environments.news(session) is not None for session in (7, 7, 8, 8)]
    environments.note(OTHER, 1)
    told += [environments.news(8) is not None for _ in range(2)]
    environments.note(OTHER, 4)
    told += [environments.news(8) is not None]
    assert told == [True, False, True, False, True, False, True]
