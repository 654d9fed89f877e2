"""Browsers come in by JupyterHub's login, and no other page can use their session."""

from __future__ import annotations

import pytest

from tests.jupyterhub.hub import Client, JupyterHub

pytestmark = pytest.mark.slow

FUNCX = "/services/funcx"


def test_a_browser_is_logged_in_by_jupyterhub(jupyterhub: JupyterHub) -> None:
    browser = jupyterhub.browser("ada")
    assert browser("GET", f"{FUNCX}/v3/whoami").status == 401, "logged in at JupyterHub, but not here yet"
    answer = browser("GET", f"{FUNCX}/login?next={FUNCX}/v3/whoami")
    assert (answer.status, answer.document["user"]) == (200, "ada")
    session = browser.cookie(r"funcx-lab-\w+", f"{FUNCX}/")
    assert session.has_nonstandard_attr("HttpOnly")
    # The session is a number of ours: no token of JupyterHub's has reached the browser.
    assert Client(f"{jupyterhub.address}/hub/api", session.value)("GET", "/user").status == 403
    assert browser("GET", f"{FUNCX}/v3/whoami", headers={"Sec-Fetch-Site": "cross-site"}).status == 403
    assert browser("GET", f"{FUNCX}/v3/tasks").status == 401, "the rest is for programs with a token"


def test_what_changes_something_needs_the_second_secret(jupyterhub: JupyterHub) -> None:
    browser = jupyterhub.browser("eve")
    browser("GET", f"{FUNCX}/login?next={FUNCX}/v3/whoami")
    xsrf = browser.cookie(r"funcx-lab-\w+-xsrf", f"{FUNCX}/").value
    for headers in ({}, {"X-XSRFToken": "guess"}, {"X-XSRFToken": xsrf, "Origin": "http://evil.example"}):
        assert browser("POST", f"{FUNCX}/logout", {}, headers).status == 403
    assert browser("GET", f"{FUNCX}/v3/whoami").status == 200
    assert browser("POST", f"{FUNCX}/logout", {}, {"X-XSRFToken": xsrf}).status == 200
    assert browser("GET", f"{FUNCX}/v3/whoami").status == 401


def test_who_is_in_no_role_gets_no_page(jupyterhub: JupyterHub) -> None:
    browser = jupyterhub.browser("bob")
    answer = browser("GET", f"{FUNCX}/login?next={FUNCX}/v3/whoami")
    assert (answer.status, answer.document["code"]) == (403, "NOT_AUTHORIZED")
    assert "custom:funcx:read" in answer.document["message"]


def test_a_strange_login_is_not_completed(jupyterhub: JupyterHub) -> None:
    browser = jupyterhub.browser("ada")
    answer = browser("GET", f"{FUNCX}/oauth_callback?code=stolen&state=invented")
    assert answer.status == 401
    assert b"begin again" in answer.content


@pytest.mark.parametrize(
    "target", ["//evil.example/", "http://evil.example/", "/hub/logout", "/\\evil.example"]
)
def test_the_login_leads_nowhere_else(jupyterhub: JupyterHub, target: str) -> None:
    browser = jupyterhub.browser("ada")
    answer = browser("GET", f"{FUNCX}/login?next={target}")
    assert answer.url.startswith(f"{jupyterhub.url}/dash/")


def test_without_a_session_one_is_sent_to_jupyterhub(jupyterhub: JupyterHub) -> None:
    browser = jupyterhub.browser("eve")
    answer = browser("GET", f"{FUNCX}/")
    assert answer.url.startswith(f"{jupyterhub.url}/dash/")
    browser.cookie(r"funcx-lab-\w+", f"{FUNCX}/")


def test_the_dashboards_open_by_jupyterhubs_login(jupyterhub: JupyterHub) -> None:
    shown = {"Accept": "text/html"}
    browser = jupyterhub.browser("ada")
    answer = browser("GET", f"{FUNCX}/dash/tasks?theme=dark", headers=shown)
    assert (answer.status, answer.url) == (200, f"{jupyterhub.url}/dash/tasks?theme=dark")
    assert b"<title>" in answer.content
    stranger = jupyterhub.browser("bob")
    answer = stranger("GET", f"{FUNCX}/dash/tasks", headers=shown)
    assert answer.status == 403
    assert b"custom:funcx:read" in answer.content
