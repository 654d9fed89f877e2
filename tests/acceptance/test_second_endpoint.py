"""An endpoint made by hand beside the local one: configured, broken, started, stopped, deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from funcx_lab import FuncXClient
from funcx_lab.errors import EndpointNotFound, ResultTooLarge, TaskPending
from funcx_lab.locks import is_held

CONFIG = "from funcx_lab_endpoint.config import Config\nconfig = Config(\n    {settings},\n)\n"
PARSL = """
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider

config = Config(
    executors=[
        HighThroughputExecutor(
            label="htex_local",
            max_workers_per_node=1,
            provider=LocalProvider(init_blocks=1, max_blocks=1),
        )
    ],
)
"""


@pytest.fixture
def second(lab: Any) -> Iterator[Path]:
    """A second endpoint that was made by hand, not yet started."""
    lab.endpoint("configure", "lab2")
    yield lab.home / "endpoints" / "lab2"
    if is_held(lab.home / "endpoints" / "lab2" / "agent.lock"):
        lab.endpoint("stop", "lab2", "--now")
    if (lab.home / "endpoints" / "lab2").exists():
        lab.endpoint("delete", "lab2", "--yes")
    assert not (lab.home / "endpoints" / "lab2").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CONFIG.format(settings="max_wrokers=3"), "line 2: TypeError"),
        (CONFIG.format(settings="max_workers_per_node=-4"), "line 2: max_workers_per_node must be"),
        ("from funcx_lab_endpoint.config import Config\nconfig = Config(\n", "line 2: SyntaxError"),
        ("import no_such_module\n", "line 1: ModuleNotFoundError"),
        ("x = 1\n", "config = Config(...)"),
    ],
)
def test_a_broken_config_file(lab: Any, second: Path, text: str, words: str) -> None:
    (second / "config.py").write_text(text)
    said = lab.endpoint("start", "lab2", code=1)
    assert f"{second / 'config.py'}" in said
    assert words in said


def test_a_result_over_the_limit_is_kept(lab: Any, client: FuncXClient, second: Path, fails: Any) -> None:
    (second / "config.py").write_text(CONFIG.format(settings='engine="processes", result_limit=1_000_000'))
    lab.endpoint("start", "lab2")
    assert len(client.submit(bytes, 900_000, endpoint="lab2").result(60)) == 900_000
    future = client.submit(bytes, 1_100_000, endpoint="lab2")
    error = fails(ResultTooLarge, "RESULT_TOO_LARGE", lambda: future.result(30))
    kept = Path(error.details["path"])
    assert kept.parent == second / "objects"
    assert kept.stat().st_size == error.details["size"] > 1_100_000
    assert f"{error.details['size']:,} bytes" in str(error)
    assert str(kept) in str(error)


@pytest.mark.parametrize("config", [CONFIG.format(settings='engine="processes"'), PARSL])
def test_tasks_wait_for_a_stopped_endpoint(
    lab: Any, client: FuncXClient, second: Path, fails: Any, config: str, until: Callable[..., None]
) -> None:
    (second / "config.py").write_text(config)
    lab.endpoint("start", "lab2")
    assert client.submit(pow, 3, 2, endpoint="lab2").result(60) == 9
    lab.endpoint("stop", "lab2")
    future = client.submit(pow, 4, 2, endpoint="lab2")
    assert future.wait_accepted(10)
    record = client.get_task(future.task_id)
    assert record["state"] == "waiting-for-ep"
    assert "endpoint offline since" in record["reason"]
    fails(TaskPending, "TASK_PENDING", lambda: client.get_result(future.task_id))
    assert "offline" in client.get_endpoint_status("lab2")["status"]
    lab.endpoint("start", "lab2")
    assert future.result(60) == 16


def test_tasks_of_a_deleted_endpoint_end(lab: Any, client: FuncXClient, second: Path, fails: Any) -> None:
    future = client.submit(pow, 4, 2, endpoint="lab2")
    assert future.wait_accepted(10)
    lab.endpoint("delete", "lab2", "--yes")
    said = str(fails(EndpointNotFound, "ENDPOINT_NOT_FOUND", lambda: future.result(10)))
    assert "'lab2' was deleted before the task ended" in said
