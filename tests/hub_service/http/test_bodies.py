"""Bodies that are not what a route takes, and paths that try to leave."""

from __future__ import annotations

import socket
from typing import Any

import pytest

FUNCTION = {"function_name": "f", "function_code": "3\nabc"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"no json",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b'{"function_name": 1, "function_code": "x"}',
        b'{"function_code": "x"}',
        b'{"function_name": "f"}',
        b'{"function_name": "f", "format": "funcx-lab", "body": "not base64!"}',
        b'{"function_name": "f", "format": "pickle", "body": "aa=="}',
        b'{"function_name": "f", "function_code": "x", "meta": ' + b"[" * 100_000 + b"}",
        b'{"function_name": "f", "function_code": "x", "meta": {"a": ' + b'{"a":' * 50_000 + b"1}",
    ],
)
def test_a_bad_body_is_refused(ask: Any, body: bytes) -> None:
    answer = ask("POST", "/v3/functions", body=body, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.document["code"]) == (400, "INVALID_REQUEST")
    assert "Traceback" not in answer.document["message"]


@pytest.mark.parametrize(
    "media_type", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_only_json_is_read(ask: Any, media_type: str) -> None:
    answer = ask("POST", "/v3/functions", body=b"{}", headers={"Content-Type": media_type})
    assert (answer.status, answer.document["code"]) == (400, "INVALID_REQUEST")


def test_our_own_routes_refuse_unknown_fields(ask: Any) -> None:
    answer = ask("POST", "/v3/tasks/cancel", {"task_ids": [], "extra": 1})
    assert answer.status == 400
    assert "extra" in answer.document["message"]


def test_a_body_over_the_limit_is_refused_with_its_size(ask: Any) -> None:
    body = b'{"function_name": "f", "function_code": "' + b"x" * (11 * 1024 * 1024) + b'"}'
    answer = ask("POST", "/v3/functions", body=body, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.document["code"]) == (413, "TASK_PAYLOAD_TOO_LARGE")
    assert answer.document["details"]["size"] == len(body)


def test_a_terabyte_is_not_waited_for(hub: Any) -> None:
    host, _, port = hub.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            f"POST /v3/functions HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {hub.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {10**12}\r\n\r\n".encode()
        )
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.count(b"HTTP/1.1") == 1


def test_the_enrolment_route_reads_little(client_for: Any) -> None:
    path = "/v3/endpoints/00000000-0000-4000-8000-000000000000/enrol"
    answer = client_for(None)("POST", path, {"enrolment_token": "x" * 100_000, "public_key": "k" * 40})
    assert answer.status == 413
    wrong = client_for(None)("POST", path, {"enrolment_token": "x", "public_key": "k" * 40})
    assert (wrong.status, wrong.document["code"]) == (401, "NOT_AUTHENTICATED")


@pytest.mark.parametrize("name", ["../x", "", "A", "a b", "a" * 64, "-a", "a\u0000", "\u00e9", "a/../../b"])
def test_an_endpoint_name_is_checked(ask: Any, name: str) -> None:
    answer = ask("POST", "/v3/endpoints", {"endpoint_name": name})
    assert (answer.status, answer.document["code"]) == (400, "INVALID_NAME")


@pytest.mark.parametrize("name", ["..%2Fx", "%2e%2e", "nobody", "..%2f..%2f..%2fetc%2fpasswd", "%00", "%ff"])
def test_an_endpoint_that_is_not_there(ask: Any, name: str) -> None:
    answer = ask("GET", f"/v2/endpoints/{name}/status")
    assert answer.status in (400, 404)
    assert answer.document["status"] == "Failed"


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=x", "limit=1001", "before=-1", "limit=nan", "state=done", "state=success,done"],
)
def test_a_bad_query_is_refused(ask: Any, query: str) -> None:
    answer = ask("GET", f"/v3/tasks?{query}")
    assert (answer.status, answer.document["code"]) == (400, "INVALID_REQUEST")


def test_a_verb_that_a_route_has_not(ask: Any) -> None:
    answer = ask("POST", "/v3/whoami", {})
    assert (answer.status, answer.document["code"]) == (405, "INVALID_REQUEST")


def test_an_error_of_ours_tells_nothing(hub: Any, ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_principal: object) -> None:
        raise RuntimeError("the secret of the house")

    monkeypatch.setattr(hub.service.services.functions, "list", broken)
    answer = ask("GET", "/v3/functions")
    assert (answer.status, answer.document["code"]) == (500, "INTERNAL_ERROR")
    assert b"secret" not in answer.content


def test_the_same_function_keeps_its_id(ask: Any) -> None:
    first = ask("POST", "/v3/functions", FUNCTION).document["function_uuid"]
    assert ask("POST", "/v3/functions", FUNCTION).document["function_uuid"] == first
    other = ask("POST", "/v3/functions", {**FUNCTION, "function_name": "g"}).document["function_uuid"]
    assert other != first
    assert ask("DELETE", f"/v2/functions/{first}").status == 200
    assert ask("GET", f"/v2/functions/{first}").status == 404
