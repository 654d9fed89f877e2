"""What pages may ask: the table itself."""

from __future__ import annotations

import pytest

from funcx_lab_labextension.table import is_dashboard, is_socket, methods_of, passed_query

ID = "6a2f41a3-c54c-4ce8-b2d2-0324e1c32e22"


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("v3/whoami", "GET"),
        ("v3/stats", "GET"),
        ("v3/functions", "GET"),
        ("v3/endpoints", "GET"),
        ("v3/tasks", "GET"),
        (f"v3/tasks/{ID}", "GET"),
        (f"v3/tasks/{ID}/events", "GET"),
        (f"v3/tasks/{ID}/inputs", "GET"),
        (f"v3/tasks/{ID}/retry", "POST"),
        (f"v3/endpoints/{ID}/environment", "GET"),
        (f"v3/endpoints/{ID}/shares", "GET POST DELETE"),
        (f"v2/endpoints/{ID}", "GET"),
        (f"v2/endpoints/{ID}/status", "GET"),
        (f"v2/functions/{ID}", "GET"),
    ],
)
def test_what_pages_may_ask(path: str, methods: str) -> None:
    assert methods_of(path) == set(methods.split())


def test_cancelling_is_no_task() -> None:
    assert "POST" in methods_of("v3/tasks/cancel")
    assert "POST" not in methods_of(f"v3/tasks/{ID}")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "v2/submit",
        "v2/functions",
        "v2/version",
        "v3/objects/00",
        "v3/stream",
        "v3/poll",
        "v3/watch",
        "v3/tokens",
        "healthz",
        "v3/tasks/",
        "/v3/tasks",
        "v3//tasks",
        "v3/tasks/../whoami",
        "v3/tasks/..",
        "v3/tasks/%2e%2e/whoami",
        "v3/tasks/a/b",
        "v3/tasks/a%2fb",
        "v3/tasks/a\\b",
        "v3/tasks/a?b",
        "v3/tasks/a#b",
        "v3/tasks/a\n",
        "v3/tasks/ä",
        "v3/tasks/" + "a" * 129,
        "http://elsewhere/v3/tasks",
        "@elsewhere/v3/tasks",
        "V3/tasks",
        "v3xtasks",
    ],
)
def test_what_pages_may_not_ask(path: str) -> None:
    assert methods_of(path) == set()


def test_one_socket_is_open_to_pages() -> None:
    assert is_socket("v3/watch")
    assert not is_socket("v3/stream")


@pytest.mark.parametrize(
    "path", ["", "tasks", "tasks/ws", "list", "static/js/bokeh.min.js", "static/a@1.2,b.js"]
)
def test_what_is_below_the_dashboards(path: str) -> None:
    assert is_dashboard(path)


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../v3/tasks",
        "a/../../v3",
        ".",
        "a/./b",
        "/v3",
        "a//b",
        "%2e%2e/v3",
        "a%2f..",
        "a\\..\\b",
        "a b",
        "a\n",
        "a/" * 600,
    ],
)
def test_what_is_not_below_the_dashboards(path: str) -> None:
    assert not is_dashboard(path)


def test_what_is_for_the_jupyter_server_is_not_passed_on() -> None:
    query = "limit=5&token=secret&1763800000000&_xsrf=2|x&text=a%26b%20%C3%A4&no_track_activity=1&flag="
    assert passed_query(query) == "limit=5&text=a%26b+%C3%A4&flag="
