"""A browser's session without JupyterHub: a code that works once, a cookie, and a second secret."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from funcx_lab_hub_service.auth.pages import own_path
from funcx_lab_hub_service.auth.sessions import CODE_S, SESSION_S, Sessions


@pytest.fixture
def nobody(client_for: Callable[..., Any]) -> Any:
    return client_for(None)


def cookies(answer: Any) -> dict[str, str]:
    text = "; ".join(answer.headers.getlist("Set-Cookie"))
    return dict(re.findall(r"(funcx-lab-[\w-]+)=([^;]+)", text))


@pytest.fixture
def browser(ask: Any, nobody: Any) -> dict[str, str]:
    """Headers of a browser that is logged in."""
    path = ask("POST", "/v3/login-codes").document["path"]
    answer = get(nobody, path)
    assert answer.status == 302, answer.content
    kept = cookies(answer)
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in kept.items())} | {
        "X-XSRFToken": next(value for name, value in kept.items() if name.endswith("-xsrf"))
    }


def get(client: Any, path: str) -> Any:
    """Ask without following a redirect."""
    response = client._pool.request("GET", client.url + path, redirect=False)
    response.content = response.data
    return response


def test_a_code_logs_in_once(ask: Any, nobody: Any, hub: Any) -> None:
    answer = ask("POST", "/v3/login-codes")
    assert answer.document["expires_s"] == CODE_S
    path = answer.document["path"]
    first = get(nobody, path + "&next=/v3/whoami")
    assert (first.status, first.headers["Location"]) == (302, "/v3/whoami")
    told = first.headers.getlist("Set-Cookie")
    assert all("HttpOnly" in cookie or "-xsrf=" in cookie for cookie in told)
    assert all(cookie.startswith("funcx-lab-") for cookie in told), "a Jupyter server's _xsrf stays its own"
    assert all("SameSite=" in cookie for cookie in told)
    assert hub.token not in str(told), "the token stays in the service"
    again = get(nobody, path)
    assert again.status == 401
    assert b"used already" in again.content
    assert not cookies(again)


def test_without_a_code_one_is_told_how_to_get_in(nobody: Any) -> None:
    answer = get(nobody, "/login")
    assert answer.status == 401
    assert b"funcx-lab dashboard" in answer.content
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert get(nobody, "/oauth_callback?code=x&state=y").status == 401


def test_a_session_opens_pages_only(nobody: Any, browser: dict[str, str]) -> None:
    assert nobody("GET", "/v3/whoami", headers=browser).document["user"] == "ada"
    assert nobody("GET", "/v3/tasks", headers=browser).status == 401
    assert nobody("POST", "/v3/login-codes", headers=browser).status == 401


def test_a_page_of_another_origin_cannot_use_it(hub: Any, nobody: Any, browser: dict[str, str]) -> None:
    host = hub.url.removeprefix("http://")
    cookie = {"Cookie": browser["Cookie"]}
    for more in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        assert nobody("GET", "/v3/whoami", headers=cookie | more).status == 403, more
    assert nobody("GET", "/v3/whoami", headers=cookie | {"Origin": f"http://{host}"}).status == 200
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert nobody("GET", "/v3/whoami", headers=cookie | followed).status == 200, "a person follows a link"


def test_logging_out_needs_the_second_secret(nobody: Any, browser: dict[str, str]) -> None:
    for headers in ({}, {"X-XSRFToken": "x"}, {"X-XSRFToken": "\xe9"}):
        answer = nobody("POST", "/logout", {}, headers={"Cookie": browser["Cookie"]} | headers)
        assert (answer.status, answer.document["code"]) == (403, "NOT_AUTHORIZED")
    assert nobody("POST", "/logout", {}, headers=browser).status == 200
    assert nobody("GET", "/v3/whoami", headers=browser).status == 401


def test_a_socket_of_a_page_needs_its_origin(hub: Any, browser: dict[str, str]) -> None:
    address, host = hub.url.replace("http", "ws", 1) + "/v3/watch", hub.url.removeprefix("http://")
    cookie = {"Cookie": browser["Cookie"]}
    for origin in (None, "http://evil.example"):
        with pytest.raises(InvalidStatus) as error:
            connect(address, additional_headers=cookie, origin=origin, proxy=None).__enter__()
        assert error.value.response.status_code == 403
    with connect(address, additional_headers=cookie, origin=f"http://{host}", proxy=None) as socket:
        assert '"hello"' in str(socket.recv(30))


def test_a_session_ends_with_its_token(
    hub: Any, client_for: Callable[..., Any], nobody: Any, browser: dict[str, str]
) -> None:
    (token,) = hub.do(hub.service.tokens.list)
    hub.run(hub.service.tokens.revoke(token.token_id))
    assert nobody("GET", "/v3/whoami", headers=browser).status == 401


def test_sessions_and_codes_end_by_themselves() -> None:
    now = 0.0
    sessions = Sessions(lambda: now)
    secret, session = sessions.open("token")
    code, other = sessions.new_code("token"), sessions.new_code("token")
    assert sessions.find(secret) is session
    assert sessions.redeem(code) == "token"
    assert sessions.redeem(code) is None
    now = CODE_S
    assert sessions.redeem(other) is None
    now = SESSION_S
    assert sessions.find(secret) is None
    assert "token" not in repr(session)


@pytest.mark.parametrize("prefix", ["", "/services/funcx"])
def test_the_login_leads_into_the_service_only(prefix: str, hub: Any) -> None:
    config = dataclasses.replace(hub.config, prefix=prefix)
    assert own_path(config, f"{prefix}/dash/queue?theme=dark") == f"{prefix}/dash/queue?theme=dark"
    for bad in ("", "//evil", "/\\evil", "http://evil", "/a b", "/a\r\nSet-Cookie: x", "/é", "dash"):
        assert own_path(config, bad) == f"{prefix}/dash/"


def test_everything_is_below_the_prefix(start: Callable[..., Any], clients: Callable[..., Any]) -> None:
    hub = start(prefix="/services/funcx")
    assert hub.url.endswith("/services/funcx")
    client = clients(hub.url, hub.token)
    assert client("GET", "/v3/whoami").document["user"] == "ada"
    outside = clients(hub.url.removesuffix("/services/funcx"), hub.token)
    assert outside("GET", "/v3/whoami").status == 404
