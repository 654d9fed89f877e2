"""Who is let in, and what is said to those who are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from funcx_lab_hub_service.handlers import routes

VERBS = ("get", "head", "post", "put", "delete")
ROUTES = [
    (verb.upper(), path, handler.public)
    for path, handler in routes
    for verb in VERBS
    if getattr(handler, verb) is not getattr(handler.__mro__[-2], verb, None)
    and verb in {name for cls in handler.__mro__ if "funcx_lab" in cls.__module__ for name in vars(cls)}
]
GUARDED = [(verb, path) for verb, path, public in ROUTES if not public] + [("GET", "/v3/stream")]
ANY_ID = "0" * 64


def place(path: str) -> str:
    return path.split("{")[0] + ANY_ID + path.split("}")[1] if "{" in path else path


def test_all_public_routes_are_known() -> None:
    public = {path for _, path, public in ROUTES if public}
    assert public == {"/healthz", "/v2/version", "/v3/endpoints/{endpoint_id}/enrol"}


@pytest.mark.parametrize(("verb", "path"), GUARDED)
def test_a_route_needs_a_token(client_for: Callable[..., Any], verb: str, path: str) -> None:
    for token in (None, "fxl_" + "x" * 43, "x", "fxl_\u00e9".encode().decode("latin-1")):
        answer = client_for(token)(verb, place(path), body=b"{}")
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        if verb != "HEAD":
            assert answer.document["code"] == "NOT_AUTHENTICATED"


@pytest.mark.parametrize(("verb", "path"), GUARDED)
def test_a_revoked_token_is_refused(hub: Any, ask: Any, verb: str, path: str) -> None:
    number = hub.do(lambda: hub.service.tokens.verify(ask.token)).token_id
    hub.run(hub.service.tokens.revoke(number))
    assert ask(verb, place(path), body=b"{}").status == 401


def test_an_unknown_route_needs_a_token_too(client_for: Callable[..., Any], ask: Any) -> None:
    assert client_for(None)("GET", "/v9/nothing").status == 401
    answer = ask("GET", "/v9/nothing")
    assert (answer.status, answer.document["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize("path", ["/healthz", "/v2/version", "/v3/whoami", "/v3/stream"])
@pytest.mark.parametrize("host", ["evil.com", "127.0.0.1", "evil.com:80", ""])
def test_a_foreign_host_is_refused(ask: Any, path: str, host: str) -> None:
    answer = ask("GET", path, headers={"Host": host})
    assert (answer.status, answer.document["code"]) == (403, "NOT_AUTHORIZED")


def test_localhost_and_configured_hosts_are_served(
    start: Callable[..., Any], client_for: Any, hub: Any
) -> None:
    port = hub.url.rpartition(":")[2]
    ask = client_for(hub.token)
    for host in (f"localhost:{port}", f"LOCALHOST:{port}", f"127.0.0.1:{port}"):
        assert ask("GET", "/v3/whoami", headers={"Host": host}).status == 200


def test_a_public_host_is_served(start: Callable[..., Any], data: Any) -> None:
    hub = start(data=data / "other", public_hosts=("funcx.example.org",))
    assert hub.service.services.hosts >= {"funcx.example.org"}


def test_what_is_anothers_looks_absent(hub: Any, ask: Any, client_for: Callable[..., Any]) -> None:
    function = ask("POST", "/v3/functions", {"function_name": "f", "function_code": "3\nabc"}).document
    endpoint = ask("POST", "/v3/endpoints", {"endpoint_name": "cluster"}).document
    other = client_for(hub.new_token("bob"))
    absent = "00000000-0000-4000-8000-000000000000"
    for path, found in (
        ("/v2/functions/{}", function["function_uuid"]),
        ("/v2/endpoints/{}", endpoint["endpoint_id"]),
        ("/v2/endpoints/{}/status", endpoint["endpoint_id"]),
    ):
        assert ask("GET", path.format(found)).status == 200
        forbidden, missing = other("GET", path.format(found)), other("GET", path.format(absent))
        assert forbidden.status == missing.status == 404
        assert forbidden.content == missing.content.replace(absent.encode(), found.encode())
    assert other("DELETE", f"/v2/functions/{function['function_uuid']}").status == 404
    assert other("GET", "/v3/functions").document == {"functions": []}
    assert other("GET", "/v3/endpoints").document == {"endpoints": []}


def test_an_agents_token_opens_little(ask: Any, client_for: Callable[..., Any]) -> None:
    registered = ask("POST", "/v3/endpoints", {"endpoint_name": "cluster"}).document
    enrolment = {"enrolment_token": registered["enrolment_token"], "public_key": "k" * 40}
    path = f"/v3/endpoints/{registered['endpoint_id']}/enrol"
    agent = client_for(client_for(None)("POST", path, enrolment).document["agent_token"])
    assert agent("GET", "/v3/whoami").document == {
        "user": "ada",
        "kind": "endpoint",
        "endpoint_id": registered["endpoint_id"],
    }
    assert agent("GET", "/v3/link").status == 200
    assert client_for(None)("POST", path, enrolment).status == 401, "an enrolment token works once"
    for verb, path in GUARDED:
        if path not in ("/v3/whoami", "/v3/link", "/v3/objects/{sha256}"):
            assert agent(verb, place(path), body=b"{}").status == 403
    assert ask("GET", "/v3/link").status == 403


@pytest.mark.parametrize("origin", ["http://evil.com", "null", "http://127.0.0.1:1"])
def test_a_page_of_another_origin_gets_no_stream(ask: Any, origin: str) -> None:
    with pytest.raises(InvalidStatus) as caught, ask.stream(Origin=origin):
        pass
    assert caught.value.response.status_code == 403


def test_our_own_origin_may_open_the_stream(ask: Any) -> None:
    with ask.stream(Origin=ask.url):
        pass


def test_a_revoked_token_ends_its_streams(hub: Any, ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("funcx_lab_hub_service.handlers.conversation.FRESH_S", 0.05)
    with ask.stream() as connection:
        number = hub.do(lambda: hub.service.tokens.verify(ask.token)).token_id
        hub.run(hub.service.tokens.revoke(number))
        with pytest.raises(Exception, match="1008"):
            connection.recv(10)
