"""Dashboards over real HTTP and WebSockets: what a page holds, who may see it, and when it rests."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from funcx_lab.protocol.messages import ErrorInfo, Outcome, TaskItem
from funcx_lab_hub_service.dashboards.catalogue import DASHBOARDS

WAIT_S = 30


class DashPage:
    """A dashboard's page, and the socket on which Bokeh's messages come."""

    def __init__(self, client: Any, name: str, query: str = "") -> None:
        self._client = client
        self.path = f"/dash/{name}"
        self.answer = client("GET", self.path + query)
        assert self.answer.status == 200, self.answer.content
        self.html = self.answer.content.decode()
        found = re.search(r'<script type="application/json" id="item">(.*?)</script>', self.html, re.DOTALL)
        assert found is not None
        self.item = json.loads(found[1])
        self.models: dict[str, Any] = {}

    @contextlib.contextmanager
    def socket(self, client: Any = None, **headers: str) -> Iterator[ClientConnection]:
        asking = client or self._client
        sent = {} if asking.token is None else {"Authorization": f"Bearer {asking.token}"}
        with connect(
            self._client.url.replace("http", "ws", 1) + self.path + "/ws",
            additional_headers=sent | headers,
            subprotocols=["bokeh", self.item["token"]],  # type: ignore[list-item]
            compression=None,
            max_size=None,
            proxy=None,
        ) as connection:
            yield connection

    def follow(self, connection: ClientConnection) -> dict[str, Any]:
        """Begin as a browser does; return the document's models by name."""
        assert message(connection)[0]["msgtype"] == "ACK"
        say(connection, "PULL-DOC-REQ", {})
        header, content = message(connection)
        while header["msgtype"] != "PULL-DOC-REPLY":
            header, content = message(connection)
        self.models = {root["attributes"].get("name", ""): root for root in content["doc"]["roots"]}
        return content["doc"]  # type: ignore[no-any-return]

    def tell(self, connection: ClientConnection, words: str) -> None:
        """Say what the page says of itself."""
        event = {
            "kind": "ModelChanged",
            "model": {"id": self.models["page"]["id"]},
            "attr": "tags",
            "new": [words],
        }
        say(connection, "PATCH-DOC", {"events": [event]})


def message(connection: ClientConnection, timeout: float = WAIT_S) -> tuple[Any, Any]:
    """Return header and content of the next message: three frames."""
    header, _, content = (json.loads(connection.recv(timeout)) for _ in range(3))
    return header, content


def read_on(connection: ClientConnection) -> None:
    """Read until the connection ends."""
    while True:
        message(connection)


def say(connection: ClientConnection, kind: str, content: Any) -> None:
    for part in ({"msgid": f"test-{kind}", "msgtype": kind}, {}, content):
        connection.send(json.dumps(part))


def wait_for_patch(connection: ClientConnection, model_id: str) -> Any:
    """Return the next change of a model's data."""
    while True:
        header, content = message(connection)
        if header["msgtype"] != "PATCH-DOC":
            continue
        for event in content["events"]:
            if event["kind"] == "ColumnDataChanged" and event["model"]["id"] == model_id:
                return event


def table_of(html: str) -> list[list[str]]:
    """Return the table twin's cells, its caption in the first row."""
    (table,) = re.findall(r"<table>(.*?)</table>", html, re.DOTALL)
    (caption,) = re.findall(r"<caption>(.*?)</caption>", table)
    headers = re.findall(r'<th scope="col">(.*?)</th>', table)
    rows = re.findall(r'<tr>(<th scope="row">.*?)</tr>', table, re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    return [[unescape(caption)], list(map(unescape, headers)), *([unescape(c) for c in row] for row in cells)]


@pytest.fixture
def other(hub: Any, client_for: Any) -> Any:
    return client_for(hub.new_token("bob"))


@pytest.fixture
def globus_function(ask: Any) -> str:
    document = {
        "function_name": "f",
        "function_code": "x",
        "serialized": True,
        "meta": {"python_version": "3.11"},
    }
    return str(ask("POST", "/v3/functions", document).document["function_uuid"])


@pytest.fixture
def ended(ask: Any, agent: Any, globus_function: str) -> str:
    """Three tasks: one went well, one failed, one runs."""

    def answer(task: TaskItem) -> Outcome | None:
        payload = task.payload.decode()
        facts = {"host": "node1", "pid": 7}
        if "keep" in payload:
            return None
        if "bad" in payload:
            error = ErrorInfo("TASK_FAILED", "no", type="OverflowError")
            return Outcome(False, error=error, started=100.0, ended=101.0, worker=facts)
        return Outcome(True, b"out", started=100.0, ended=100.5, worker=facts)

    agent.answer = answer
    submitted = ask(
        "POST", "/v3/endpoints/cluster/submit", {"tasks": {globus_function: ["good", "bad", "keep"]}}
    )
    ids = submitted.document["tasks"][globus_function]
    for task_id in ids[:2]:
        ask("GET", f"/v3/tasks/{task_id}?wait=30")
    return str(ids[0])


def test_the_index_and_the_list_name_every_dashboard(ask: Any) -> None:
    listed = ask("GET", "/dash/list").document["dashboards"]
    assert [each["name"] for each in listed] == list(DASHBOARDS)
    index = ask("GET", "/dash/?theme=dark")
    text = index.content.decode()
    assert index.headers["Content-Type"].startswith("text/html")
    assert 'data-theme="dark"' in text
    for name, title in DASHBOARDS.items():
        assert f'<a href="{name}?theme=dark">{title}</a>' in text
        assert f'<iframe src="{name}?theme=dark" title="{title}"' in text


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_page_has_a_document_with_a_source_and_a_table_twin(ask: Any, ended: str, name: str) -> None:
    page = DashPage(ask, name)
    (caption,), headers, *rows = table_of(page.html)
    assert caption
    assert len(headers) >= 4
    assert all(len(row) == len(headers) for row in rows)
    assert '<button type="button" id="toggle" aria-pressed="false" aria-controls="twin">' in page.html
    with page.socket() as connection:
        document = page.follow(connection)
    text = json.dumps(document)
    assert '"ColumnDataSource"' in text
    assert set(page.models) == {"plot", "table", "page"}
    assert "http://" not in page.html.replace(ask.url, "")
    assert "https://" not in page.html


def test_tables_say_in_words_what_plots_show(ask: Any, ended: str) -> None:
    tasks = table_of(DashPage(ask, "tasks").html)[2:]
    states = {row[0][-8:]: row[1] for row in tasks}
    assert states[ended[-8:]] == "success"
    assert sorted(states.values()) == ["failed (TASK_FAILED)", "running", "success"]
    assert next(row for row in tasks if row[1] == "success")[2:4] == ["cluster", "cluster node1:7"]
    assert table_of(DashPage(ask, "failures").html)[2][:3] == ["OverflowError", "1", "50.0%"]
    assert table_of(DashPage(ask, "queue").html)[2][:2] == ["cluster", "1"]
    assert [row[1:4] for row in table_of(DashPage(ask, "throughput").html)[2:]] == [["1", "1", "0"]]
    assert table_of(DashPage(ask, "bytes").html)[2][2] == "3 B"


def test_a_page_of_nothing_says_so(ask: Any) -> None:
    for name in DASHBOARDS:
        html = DashPage(ask, name).html
        sentence = re.search(r'<p id="nothing" role="status">(.+?)</p>', html)
        assert sentence is not None, name
        assert sentence[1].endswith(".")


def test_names_that_look_like_markup_show_as_text(ask: Any, agent: Any) -> None:
    nasty = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    document = {"function_name": nasty, "function_code": "x", "serialized": True}
    agent.answer = lambda task: Outcome(
        True, b"x", started=1.0, ended=2.0, worker={"host": "<b>bold</b>", "pid": 1}
    )
    function_id = ask("POST", "/v3/functions", document).document["function_uuid"]
    submitted = ask("POST", "/v3/endpoints/cluster/submit", {"tasks": {function_id: ["x"]}}).document
    ask("GET", f"/v3/tasks/{submitted['tasks'][function_id][0]}?wait=30")
    page = DashPage(ask, "tasks")
    assert "<img" not in page.html
    assert "<b>" not in page.html
    assert nasty in table_of(page.html)[2][0]


def test_strangers_get_nothing(ask: Any, client_for: Any) -> None:
    anybody = client_for(None)
    page = DashPage(ask, "tasks")
    for path in ("", "list", "tasks", "tasks?theme=dark", "static/page.js", "static/bokeh.min.js", "nowhere"):
        assert anybody("GET", f"/dash/{path}").status == 401, path
        sent = anybody("GET", f"/dash/{path}", headers={"Accept": "text/html"})
        assert sent.status == 302, path
        assert sent.headers["Location"].startswith("/login?next=%2Fdash%2F"), path
        assert sent.content == b"", path
    with pytest.raises(InvalidStatus, match="401"), page.socket(anybody):
        pass
    for path in (
        "tasks/metadata",
        "tasks/autoload.js",
        "static/js/bokeh.min.js",
        "static/../mount.py",
        "favicon.ico",
    ):
        assert ask("GET", f"/dash/{path}").status in (400, 404), path


def test_another_users_tasks_never_show(agent: Any, ended: str, other: Any) -> None:
    for name in DASHBOARDS:
        page = DashPage(other, name, f"?endpoint={agent.endpoint_id}")
        with page.socket() as connection:
            document = json.dumps(page.follow(connection))
        for secret in (ended[-8:], "cluster", "node1", "TASK_FAILED", "OverflowError"):
            assert secret not in page.html + document, (name, secret)


def test_a_session_is_its_users_alone(ask: Any, other: Any) -> None:
    page = DashPage(ask, "tasks")
    with pytest.raises(InvalidStatus, match="403"), page.socket(other):
        pass
    mine = page.item["token"]
    for argument in (f"bokeh-token={mine}", "bokeh-session-id=known"):
        assert other("GET", f"/dash/tasks?{argument}").status == 400
    assert other("GET", "/dash/tasks", headers={"Bokeh-Session-Id": "known"}).status == 400
    forged = "eyJmdW5jeF91c2VyIjoiYWRhIn0"
    page.item["token"] = forged
    with pytest.raises((InvalidStatus, ConnectionClosed)), page.socket() as connection:
        message(connection)


def test_a_page_of_another_origin_may_not_follow(ask: Any) -> None:
    page = DashPage(ask, "tasks")
    with pytest.raises(InvalidStatus, match="403"), page.socket(Origin="http://evil.example"):
        pass
    with page.socket(Origin=ask.url) as connection:
        page.follow(connection)


def test_the_token_is_not_in_the_page(ask: Any) -> None:
    page = DashPage(ask, "tasks")
    assert ask.token not in page.html
    head = page.item["token"].partition(".")[0]
    inside = base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)).decode("utf-8", "replace")
    assert ask.token not in inside
    assert "Authorization" not in inside
    assert page.answer.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")


def test_a_hidden_page_costs_nothing_and_a_seen_one_is_updated(
    ask: Any, agent: Any, hub: Any, globus_function: str
) -> None:
    sampler = hub.service.dashboards.sampler
    page = DashPage(ask, "tasks")
    with page.socket() as connection:
        page.follow(connection)
        page.tell(connection, "seen table motion 0")
        submitted = ask("POST", "/v3/endpoints/cluster/submit", {"tasks": {globus_function: ["x"]}}).document
        task_id = submitted["tasks"][globus_function][0]
        ask("GET", f"/v3/tasks/{task_id}?wait=30")
        event = wait_for_patch(connection, page.models["table"]["id"])
        assert task_id[-8:] in json.dumps(event)

        page.tell(connection, "hidden table motion 0")
        # A message comes back behind the one that hid the page: from then on nothing may be read.
        say(connection, "SERVER-INFO-REQ", {})
        while message(connection)[0]["msgtype"] != "SERVER-INFO-REPLY":
            pass
        before = hub.do(lambda: sampler.reads)
        with pytest.raises(TimeoutError):
            message(connection, timeout=3.0)
        assert hub.do(lambda: sampler.reads) == before


def test_pages_of_one_user_share_their_reads(ask: Any, hub: Any) -> None:
    DashPage(ask, "tasks")
    sampler = hub.service.dashboards.sampler
    before = hub.do(lambda: sampler.reads)

    def look() -> None:
        principal = hub.service.dashboards.looking["ada"]
        for _ in range(50):
            view = sampler.view(principal)
            assert view.ended == []
            assert view.queues == {}

    hub.do(look)
    assert hub.do(lambda: sampler.reads) - before <= 1


def test_a_revoked_token_ends_the_session(ask: Any, hub: Any) -> None:
    page = DashPage(ask, "queue")
    principal = hub.service.tokens.verify(ask.token)
    with page.socket() as connection:
        page.follow(connection)
        hub.run(hub.service.tokens.revoke(principal.token_id))
        with pytest.raises(ConnectionClosed) as closed:
            read_on(connection)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


def test_a_service_that_stops_hangs_up(ask: Any, hub: Any) -> None:
    page = DashPage(ask, "queue")
    with page.socket() as connection:
        page.follow(connection)
        hub.stop()
        with pytest.raises(ConnectionClosed):
            read_on(connection)


def test_bokeh_is_not_loaded_before_somebody_looks() -> None:
    code = "import sys, funcx_lab_hub_service.app; sys.exit('bokeh' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_without_bokeh_the_pages_say_what_to_install(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("funcx_lab_hub_service.dashboards.mount.has_bokeh", lambda: False)
    monkeypatch.setattr("funcx_lab_hub_service.dashboards.pages.has_bokeh", lambda: False)
    for path in ("/dash/", "/dash/tasks"):
        told = ask("GET", path).document
        assert told["code"] == "MISSING_EXTRA"
        assert "pip install 'funcx-lab[dashboards]'" in told["reason"]
        page = ask("GET", path, headers={"Accept": "text/html"})
        assert b"funcx-lab[dashboards]" in page.content
        assert page.headers["Content-Type"].startswith("text/html")
    assert ask("GET", "/dash/list").status == 200


def test_below_a_prefix_everything_is_there(start: Any, clients: Any) -> None:
    below = start(prefix="/services/funcx")
    client = clients(below.url, below.token)
    page = DashPage(client, "tasks")
    assert 'src="static/bokeh.min.js' in page.html  # relative: whatever the prefix is
    assert client("GET", "/dash/static/page.js").status == 200
    with page.socket() as connection:
        page.follow(connection)
