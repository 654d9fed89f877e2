"""Pages reach the hub service, by the table's routes only, when they are logged in to the Jupyter server."""

from __future__ import annotations

import json

import pytest

from tests.hub_service.http.conftest import Running
from tests.labextension.jupyter import JUPYTER_TOKEN, JupyterServer, cookies_of

ID = "6a2f41a3-c54c-4ce8-b2d2-0324e1c32e22"
ROUTES = [
    ("GET", "status"),
    ("GET", "api/v3/whoami"),
    ("POST", "api/v3/tasks/cancel"),
    ("DELETE", f"api/v3/endpoints/{ID}/shares"),
    ("GET", "dash/"),
    ("GET", "dash/static/js/bokeh.min.js"),
    ("GET", "machine/endpoints"),
    ("POST", "machine/endpoints/local/start"),
    ("POST", "machine/endpoints/local/stop"),
    ("POST", "machine/service/start"),
    ("PUT", "notebooks"),
]


def test_the_status_says_who_one_is(jupyter: JupyterServer) -> None:
    answer = jupyter("GET", "status")
    assert answer.status == 200
    document = answer.document
    assert document["ok"] is True
    assert (document["user"], document["mode"], document["problem"]) == ("ada", "standalone", None)
    assert document["service"] == jupyter_alias(jupyter)


def jupyter_alias(jupyter: JupyterServer) -> str:
    url: str = json.loads((jupyter.home / "profile.json").read_text())["url"]
    return url.removeprefix("http://")


def test_an_answer_of_the_hub_service_comes_through(jupyter: JupyterServer) -> None:
    assert jupyter("GET", "api/v3/whoami").document["user"] == "ada"
    assert jupyter("GET", "api/v3/tasks?limit=5&1763800000000").document == {"tasks": [], "next": None}
    assert jupyter("POST", "api/v3/tasks/cancel", {"task_ids": []}).document == {"cancelled": []}


def test_an_error_of_the_hub_service_comes_through_with_its_code(jupyter: JupyterServer) -> None:
    answer = jupyter("GET", f"api/v3/tasks/{ID}")
    assert (answer.status, answer.code) == (404, "TASK_NOT_FOUND")
    answer = jupyter("GET", "api/v3/tasks?limit=many")
    assert (answer.status, answer.code) == (400, "INVALID_REQUEST")
    assert "limit" in answer.document["message"]


@pytest.mark.parametrize(
    "path",
    [
        "api/v2/submit",
        "api/v3/stream",
        "api/v3/objects/00",
        "api/healthz",
        "api/v3/tasks/../whoami",
        "api/v3/tasks/%2e%2e/whoami",
        "api/v3/tasks/..%2fwhoami",
        "api/v3%2fwhoami",
        "api/%76%33/whoami",
        "api/v3/tasks/a%00b",
        "api/v3/tasks/a%0d%0aHost:%20x",
        "api//v3/whoami",
        "api/http://127.0.0.1/v3/whoami",
        "dash/../v3/whoami",
        "dash/%2e%2e/v3/whoami",
        "dash/..%2fv3/whoami",
        "dash//v3/whoami",
    ],
)
def test_no_other_path_leads_anywhere(jupyter: JupyterServer, path: str) -> None:
    for method in ("GET", "POST"):
        answer = jupyter(method, path)
        assert answer.status in (404, 405), answer.content
        assert b"ada" not in answer.content


def test_a_route_has_its_methods_only(jupyter: JupyterServer) -> None:
    for method, path in [
        ("POST", "api/v3/whoami"),
        ("DELETE", f"api/v3/tasks/{ID}"),
        ("GET", f"api/v3/tasks/{ID}/retry"),
    ]:
        assert jupyter(method, path).status == 405
    assert jupyter("PUT", "api/v3/whoami").status == 405
    assert jupyter("POST", "dash/").status == 405


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_nothing_without_logging_in(jupyter: JupyterServer, method: str, path: str) -> None:
    answer = jupyter(method, path, {} if method != "GET" else None, token=None)
    assert answer.status == 403
    assert "Location" not in answer.headers
    answer = jupyter(method, path, {} if method != "GET" else None, token="a-wrong-one")
    assert answer.status == 403


@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if not route[1].startswith("dash")])
def test_a_page_of_another_site_cannot_use_the_cookies(
    jupyter: JupyterServer, method: str, path: str
) -> None:
    cookies, _ = cookies_of(jupyter)
    document = {} if method != "GET" else None
    assert jupyter(method, path, document, token=None, headers=cookies).status == 403
    strange = cookies | {"Origin": "http://evil.example", "Referer": "http://evil.example/x"}
    assert jupyter(method, path, document, token=None, headers=strange).status in (403, 404)


def test_a_page_of_ours_can(jupyter: JupyterServer) -> None:
    cookies, xsrf = cookies_of(jupyter)
    ours = cookies | {"X-XSRFToken": xsrf, "Origin": jupyter.origin}
    assert jupyter("GET", "status", token=None, headers=ours).document["ok"] is True
    assert jupyter("POST", "api/v3/tasks/cancel", {"task_ids": []}, token=None, headers=ours).status == 200
    referred = cookies | {"Referer": f"{jupyter.origin}/lab"}
    assert jupyter("GET", "api/v3/whoami", token=None, headers=referred).status == 200


def test_a_dashboard_is_framed_by_our_pages_only(jupyter: JupyterServer) -> None:
    answer = jupyter("GET", "dash/none/such", headers={"Origin": "http://evil.example"}, token=None)
    assert answer.status == 403
    answer = jupyter("GET", "dash/none/such")
    assert answer.headers["Content-Security-Policy"] == "frame-ancestors 'self'"


def test_secrets_stay_at_the_server(jupyter: JupyterServer, service: Running) -> None:
    paths = ["status", "api/v3/whoami", "api/v3/endpoints", "api/v3/nope", "dash/", "machine/endpoints"]
    for path in paths:
        answer = jupyter("GET", path)
        assert service.token.encode() not in answer.content
        assert service.token not in str(answer.headers)
        assert JUPYTER_TOKEN.encode() not in answer.content
    assert service.token not in jupyter.log.read_text()


def test_a_large_body_is_refused(jupyter: JupyterServer) -> None:
    answer = jupyter("POST", "api/v3/tasks/cancel", body=b"[" + b" " * 1024 * 1024 + b"]")
    assert (answer.status, answer.code) == (413, "TASK_PAYLOAD_TOO_LARGE")


def test_looking_on_does_not_keep_an_idle_server_alive(jupyter: JupyterServer) -> None:
    """A hub culls servers by this time."""

    def last_activity() -> str:
        answer = jupyter("GET", "api/status?no_track_activity=1", below="")
        assert answer.status == 200
        return str(answer.document["last_activity"])

    before = last_activity()
    jupyter("GET", "status")
    jupyter("GET", "api/v3/tasks")
    assert last_activity() == before
