"""What comes from where the hub service should be is passed on with care."""

from __future__ import annotations

import pytest
import urllib3

from tests.labextension.jupyter import JUPYTER_TOKEN, JupyterServer
from tests.labextension.stand_in import PIECE, TOKEN, StandIn


def test_the_service_gets_nothing_of_the_browser(server: JupyterServer, stand_in: StandIn) -> None:
    own = {
        "Cookie": "username-x=secret; _xsrf=secret",
        "Origin": server.origin,
        "Referer": f"{server.origin}/lab?token=secret",
        "X-XSRFToken": "secret",
        "X-Forwarded-For": "10.0.0.1",
    }
    answer = server("GET", f"api/v3/whoami?token={JUPYTER_TOKEN}&limit=1", headers=own)
    assert answer.status == 200
    (method, uri, headers), *_ = stand_in.asked
    assert (method, uri) == ("GET", "/v3/whoami?limit=1")
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert "secret" not in str(headers)
    assert JUPYTER_TOKEN not in str(headers)
    assert not {"Cookie", "Origin", "Referer", "X-Xsrftoken", "X-Forwarded-For"}.intersection(headers.keys())


def test_the_browser_gets_no_header_that_is_not_for_it(server: JupyterServer, stand_in: StandIn) -> None:
    for path in ("api/v3/whoami", "dash/tasks"):
        answer = server("GET", path)
        assert answer.status == 200
        assert "planted" not in str(answer.headers)
        assert "X-Secret" not in answer.headers
        assert "frame-ancestors *" not in str(answer.headers)
    assert answer.headers.get_all("Content-Security-Policy") == ["frame-ancestors 'self'"]
    assert answer.headers["Cache-Control"] == "max-age=60"


def test_a_redirect_is_not_followed(server: JupyterServer, stand_in: StandIn) -> None:
    answer = server("GET", "api/v3/tasks")
    assert (answer.status, answer.code) == (502, "SERVICE_UNREACHABLE")
    assert "redirect" in answer.document["message"]
    assert answer.document["try"]
    assert "Location" not in answer.headers
    assert [uri for _, uri, _ in stand_in.asked] == ["/v3/tasks"]


def test_a_page_behind_the_api_is_no_page_in_the_browser(server: JupyterServer, stand_in: StandIn) -> None:
    answer = server("GET", "api/v3/stats")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_an_answer_comes_piece_by_piece(server: JupyterServer, stand_in: StandIn) -> None:
    response = server.stream("api/v3/functions")
    try:
        assert response.read(len(PIECE)) == PIECE  # though the rest is not there yet
        stand_in.do(stand_in.go.set)
        assert response.read() == PIECE
    finally:
        response.release_conn()


def test_an_answer_that_breaks_off_does_not_look_whole(server: JupyterServer, stand_in: StandIn) -> None:
    response = server.stream("api/v3/endpoints")
    with pytest.raises(urllib3.exceptions.ProtocolError):
        response.read()
    response.close()
    assert server("GET", "api/v3/whoami").status == 200


def test_an_order_is_passed_on_once_with_its_body(server: JupyterServer, stand_in: StandIn) -> None:
    answer = server("POST", "api/v3/tasks/cancel", {"task_ids": ["a"]})
    assert answer.document == {"task_ids": ["a"]}
    assert [method for method, _, _ in stand_in.asked] == ["POST"]


def test_trouble_in_a_frame_is_told_in_words(server: JupyterServer) -> None:
    server.use("http://127.0.0.1:9", "x")
    answer = server("GET", "dash/tasks", headers={"Accept": "text/html,*/*"})
    assert answer.status == 502
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "does not answer" in answer.content.decode()
    answer = server("GET", "dash/list", headers={"Accept": "application/json"})
    assert answer.code == "SERVICE_UNREACHABLE"
