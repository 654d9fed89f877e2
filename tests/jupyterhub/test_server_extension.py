"""Pages of a user's own server behind JupyterHub reach the hub service, with the Hub's token."""

from __future__ import annotations

import json

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.jupyterhub.hub import LIMIT_S, Client, JupyterHub

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
BASE = "/user/eve/funcx-lab"


@pytest.fixture(scope="module")
def browser(jupyterhub: JupyterHub) -> Client:
    """Eve's, with her JupyterLab open."""
    jupyterhub.spawn("eve")
    browser = jupyterhub.browser("eve")
    assert browser("GET", "/user/eve/lab").status == 200
    return browser


def ours(browser: Client) -> dict[str, str]:
    """Return what a script on a page of the server sends besides its cookies."""
    token = browser.cookie("_xsrf", "/user/eve/").value
    return {"X-XSRFToken": str(token), "Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}


def cookies(browser: Client) -> str:
    return "; ".join(f"{each.name}={each.value}" for each in browser.jar if each.path in ("/", "/user/eve/"))


def test_the_status_is_the_hubs(browser: Client) -> None:
    document = browser("GET", f"{BASE}/status", headers=ours(browser)).document
    assert (document["ok"], document["mode"], document["user"]) == (True, "jupyterhub", "eve")
    assert document["problem"] is None


def test_questions_and_orders_get_through(browser: Client) -> None:
    assert browser("GET", f"{BASE}/api/v3/whoami", headers=ours(browser)).document["user"] == "eve"
    answer = browser("POST", f"{BASE}/api/v3/tasks/cancel", {"task_ids": []}, ours(browser))
    assert (answer.status, answer.document) == (200, {"cancelled": []})
    assert browser("POST", f"{BASE}/api/v3/tasks/cancel", {"task_ids": []}).status == 403


def test_a_page_watches(browser: Client, jupyterhub: JupyterHub) -> None:
    url = f"ws{jupyterhub.address.removeprefix('http')}{BASE}/api/v3/watch"
    sent = {"Cookie": cookies(browser), "Sec-Fetch-Mode": "websocket"}
    with connect(
        url, additional_headers=sent, origin=jupyterhub.address, proxy=None, open_timeout=LIMIT_S
    ) as page:
        assert json.loads(page.recv(LIMIT_S))["user"] == "eve"
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(url, additional_headers=sent, origin="http://evil.example", proxy=None, open_timeout=LIMIT_S),
    ):
        pass
    assert refused.value.response.status_code == 403


def test_a_dashboard_may_be_framed_by_the_users_own_pages(browser: Client) -> None:
    answer = browser("GET", f"{BASE}/dash/list", headers=ours(browser))
    assert answer.headers.get_all("Content-Security-Policy") == ["frame-ancestors 'self'"]


def test_nobody_else_gets_in(browser: Client, jupyterhub: JupyterHub) -> None:
    stranger = Client(jupyterhub.address)
    for path in ("/status", "/api/v3/whoami", "/dash/"):
        assert stranger("GET", BASE + path).status == 403
    bob = jupyterhub.browser("bob")
    bob("GET", "/user/eve/lab")
    assert bob("GET", f"{BASE}/status").status == 403
