"""How the SDK's objects look: one line, HTML that reads well without style, no tokens, no addresses."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import date
from html.parser import HTMLParser
from typing import Any

import pytest

from funcx_lab import Executor, FuncXClient, TaskFuture, errors
from funcx_lab.config import Service
from funcx_lab.looks import TASK_MIME, is_jupyterlab
from funcx_lab.record_lists import HTML_ROWS, TEXT_ROWS, EndpointList, FunctionList, TaskList


class Words(HTMLParser):
    """What is left of HTML without its style; refuses scripts and ids."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(markup)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag != "script"
        assert not [name for name, _ in attrs if name == "id" or name.startswith("on")]
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)


def read(thing: Any) -> str:
    return " ".join("".join(Words(thing._repr_html_()).words).split())


@pytest.fixture
def front_end(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No front end at all, until a test says which."""
    import os

    for name in list(os.environ):
        if name.startswith(("JPY_", "JUPYTERHUB_", "VSCODE_")):
            monkeypatch.delenv(name)
    return monkeypatch


def test_nothing_secret_and_no_address_is_shown(client: FuncXClient, standin: Any) -> None:
    host = standin.url.removeprefix("http://")
    executor = Executor("cluster", client)
    future = executor.submit(abs, -1)
    for thing in (client, executor, future):
        for shown in (repr(thing), thing._repr_html_()):
            assert standin.token not in shown
            assert "http" not in shown
            assert "\n" not in repr(thing)
    assert repr(client) == f"<FuncXClient of {host}>"
    assert read(client) == f"Client of hub service {host}"
    future.result(10)


def test_an_executor_counts_its_unfinished_tasks(client: FuncXClient, standin: Any) -> None:
    standin.hold = True
    executor = Executor("cluster", client)
    assert repr(executor).startswith("<Executor on cluster of 127.0.0.1:")
    futures = [executor.submit(abs, number) for number in range(2)]
    assert repr(executor).endswith(", 2 unfinished tasks>")
    assert "2 unfinished tasks" in read(executor)
    for future in futures:
        future.wait_accepted(10)
        future.cancel()


@pytest.mark.parametrize(
    ("url", "embedded", "alias"),
    [
        ("http://127.0.0.1:4242", True, "local"),
        ("https://user:secret@hub.example.org/services/funcx", False, "hub.example.org"),
        ("https://hub.example.org:8443", False, "hub.example.org:8443"),
    ],
)
def test_a_service_has_a_name_that_may_be_read(url: str, embedded: bool, alias: str) -> None:
    assert Service(url, "token", embedded).alias == alias


def test_a_future(client: FuncXClient, front_end: Any) -> None:
    future: TaskFuture[int] = client.submit(abs, -1, endpoint="clu<b>ster")
    assert future.result(10) == 1
    assert read(future) == f"✔ success on clu<b>ster · {future.task_id}"
    data, metadata = future._repr_mimebundle_()
    assert set(data) == {"text/plain", "text/html"}
    assert metadata == {"funcx": {"task_id": future.task_id, "endpoint": "clu<b>ster"}}


def test_jupyterlab_gets_the_facts_of_a_task(client: FuncXClient, front_end: Any) -> None:
    future = client.submit(abs, -1, endpoint="cluster")
    future.result(10)
    front_end.setenv("JPY_SESSION_NAME", "/home/ada/analysis.ipynb")
    facts = future._repr_mimebundle_()[0][TASK_MIME]
    assert facts.items() >= {"task_id": future.task_id, "state": "success", "endpoint": "cluster"}.items()
    assert facts["service"].startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ([], False),
        (["JPY_SESSION_NAME"], True),
        (["JUPYTERHUB_USER"], True),
        (["JPY_SESSION_NAME", "VSCODE_PID"], False),
    ],
)
def test_which_front_end(front_end: Any, variables: list[str], expected: bool) -> None:
    for name in variables:
        front_end.setenv(name, "x")
    assert is_jupyterlab() is expected


def test_lists_are_tables(client: FuncXClient, standin: Any) -> None:
    endpoints = client.get_endpoints()
    assert endpoints == [{"name": "cluster", "endpoint_id": "1", "state": "online"}]
    assert repr(endpoints).splitlines() == ["name     state   reason  id", "cluster  online          1"]
    assert read(endpoints) == "Endpointsnamestatereasonidclusteronline1"
    assert repr(EndpointList()) == "Endpoints: none"


def test_a_list_of_tasks() -> None:
    tasks = TaskList(
        [
            {"task_id": "t-1", "state": "success", "label": "<fit>", "started": 10.0, "ended": 75.0},
            {"task_id": "t-2", "state": "running", "function_name": "fit", "started": time.time() - 7200},
            {"task_id": "t-3", "state": "received"},
        ]
    )
    first, second, third = tasks.table().rows
    assert first[1:] == ["✔ success", "", "1:05", "<fit>", "t-1"]
    assert second[3].startswith("2:00:0")
    assert second[4] == "fit"
    assert third[3] == ""
    assert "<fit>" in read(tasks)


def test_a_long_list_is_cut_as_text_and_folded_as_html() -> None:
    tasks = TaskList({"task_id": str(number), "state": "success"} for number in range(TEXT_ROWS + 5))
    assert repr(tasks).endswith("\n... and 5 more")
    assert "<details>" in tasks._repr_html_()
    many = TaskList({"task_id": str(number), "state": "success"} for number in range(HTML_ROWS + 1))
    assert read(many).startswith("Tasks (the first 1,000 of 1,001)")
    assert len(many.table()) == HTML_ROWS + 1


def test_functions(client: FuncXClient, monkeypatch: pytest.MonkeyPatch) -> None:
    known = [
        {"function_name": name, "function_uuid": name, "created": 1.0, "meta": {"description": f"{name}s"}}
        for name in ("fit_line", "fit_plane", "refit")
    ]
    monkeypatch.setattr(client.connection.transport, "json", lambda *_: {"functions": known})
    assert [each["function_name"] for each in client.get_functions()] == ["fit_line", "fit_plane", "refit"]
    assert [each["function_name"] for each in client.get_functions("fit_*")] == ["fit_line", "fit_plane"]
    assert [each["function_name"] for each in client.get_functions("fit")] == [
        "fit_line",
        "fit_plane",
        "refit",
    ]
    functions = client.get_functions("re")
    assert isinstance(functions, FunctionList)
    assert functions.table().rows[0][2:] == ["refits", "refit"]


@pytest.mark.parametrize("since", ["yesterday", True, date(2026, 1, 1)])
def test_times_that_are_none(client: FuncXClient, since: Any) -> None:
    with pytest.raises(errors.UsageError, match="since must be Unix seconds"):
        client.get_tasks(since=since)


@pytest.mark.parametrize("task_id", ["", "  ", None, 5])
def test_ids_that_are_none(client: FuncXClient, task_id: Any) -> None:
    with pytest.raises(errors.UsageError, match="get_tasks\\(\\) lists your tasks"):
        client.task(task_id)


def test_showing_needs_no_ipython() -> None:
    code = "import sys, funcx_lab.executor, funcx_lab.record_lists; assert 'IPython' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
