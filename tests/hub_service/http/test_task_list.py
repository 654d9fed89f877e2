"""The list of tasks: filtered by text, state and endpoint, in either order, page by page, however many."""

from __future__ import annotations

import base64
import uuid
from typing import Any

import pytest

from funcx_lab.protocol.messages import TaskOptions
from funcx_lab.protocol.stream import NewTask, Submit, client_codec

GROUP = "11111111-1111-4111-8111-111111111111"


def register(ask: Any, name: str) -> str:
    body = base64.b64encode(name.encode()).decode()
    document = {"function_name": name, "format": "funcx-lab", "body": body}
    return str(ask("POST", "/v3/functions", document).document["function_uuid"])


def submit(ask: Any, listen: Any, function_id: str, count: int, label: str | None = None) -> list[str]:
    task_ids = [str(uuid.uuid4()) for _ in range(count)]
    tasks = [NewTask(task_id, b"x") for task_id in task_ids]
    options = None if label is None else TaskOptions(label=label)
    with ask.stream() as connection:
        connection.send(client_codec.encode(Submit(1, "away", function_id, GROUP, tasks, options)))
        assert listen(connection, 60).request == 1
    return task_ids


@pytest.fixture
def away(ask: Any) -> None:
    ask("POST", "/v3/endpoints", {"endpoint_name": "away"})


def pages(ask: Any, query: str) -> list[list[str]]:
    """Read page after page to the end."""
    found, following = [], 0
    while following is not None:
        page = ask("GET", f"/v3/tasks?{query}" + (f"&before={following}" if following else "")).document
        found.append([task["task_id"] for task in page["tasks"]])
        following = page["next"]
    return found


def flat(found: list[list[str]]) -> list[str]:
    return [task_id for page in found for task_id in page]


def test_text_is_found_in_labels_names_and_ids(ask: Any, away: None, listen: Any) -> None:
    (fitted,) = submit(ask, listen, register(ask, "Fit_Model"), 1)
    (labelled,) = submit(ask, listen, register(ask, "other"), 1, "the Straße modelled")
    (neither,) = submit(ask, listen, register(ask, "other"), 1, "plain")
    assert pages(ask, "text=MODEL") == [[labelled, fitted]]
    assert pages(ask, "text=strasse") == [[labelled]]
    assert pages(ask, "text=fit_m") == [[fitted]]
    assert pages(ask, f"text={neither[-8:]}") == [[neither]]
    assert pages(ask, "text=100%25") == [[]]
    assert pages(ask, "order=oldest") == [[fitted, labelled, neither]]


def test_every_order_and_filter_is_read_page_by_page(ask: Any, away: None, listen: Any) -> None:
    odd, even = register(ask, "odd"), register(ask, "even")
    task_ids = [
        task_id
        for n in range(15)
        for task_id in submit(ask, listen, even if n % 2 else odd, 100 if n == 7 else 1)
    ]
    ask("POST", "/v3/tasks/cancel", {"task_ids": task_ids[::3]})
    for query, wanted in (
        ("", task_ids),
        ("&text=even", [*(task_ids[n] for n in (1, 3, 5)), *task_ids[7:107], *task_ids[108::2]]),
        ("&state=cancelled", task_ids[::3]),
        ("&state=waiting-for-ep&endpoint=away", sorted({*task_ids} - {*task_ids[::3]}, key=task_ids.index)),
        ("&state=running", []),
        (f"&group={GROUP}&text=odd", [task_ids[n] for n in (0, 2, 4, 6, 107, 109, 111, 113)]),
    ):
        for order, expected in (("oldest", wanted), ("newest", wanted[::-1])):
            found = pages(ask, f"limit=7&order={order}{query}")
            assert flat(found) == expected, query
            assert max(map(len, found)) <= 7


def test_a_few_among_many_are_found(ask: Any, away: None, listen: Any) -> None:
    (needle,) = submit(ask, listen, register(ask, "needle"), 1)
    hay = register(ask, "hay")
    for _ in range(5):
        submit(ask, listen, hay, 2000)
    assert flat(pages(ask, "text=needle&limit=50")) == [needle]
    assert sum(map(len, pages(ask, "text=hay&limit=1000"))) == 10_000


@pytest.mark.parametrize("query", ["order=up", "limit=0", "before=x", "state=odd"])
def test_a_query_that_makes_no_sense_is_refused(ask: Any, query: str) -> None:
    answer = ask("GET", f"/v3/tasks?{query}")
    assert (answer.status, answer.document["code"]) == (400, "INVALID_REQUEST")
