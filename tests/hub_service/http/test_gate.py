"""Rates, the way out, and what is written down of all that."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
import time
from typing import Any

import pytest
import urllib3
from websockets.exceptions import InvalidStatus

from funcx_lab.protocol.stream import NewTask, Submit, client_codec
from funcx_lab_hub_service.audit import entries, verify
from funcx_lab_hub_service.handlers.gate import FAILURE_BURST
from funcx_lab_hub_service.listening import CappedServer

GROUP = "11111111-1111-4111-8111-111111111111"
TASK = "22222222-2222-4222-8222-222222222222"


def noted(hub: Any) -> list[dict[str, Any]]:
    hub.do(hub.service.audit.flush)
    return list(entries(hub.config.audit))


def events(hub: Any) -> list[str]:
    return [entry["event"] for entry in noted(hub)]


# --- rates ------------------------------------------------------------------------------------------


def test_requests_over_the_rate_are_told_when_to_come_back(start: Any, clients: Any) -> None:
    hub = start(request_rate=5.0, request_burst=10)
    ask = clients(hub.url, hub.token)
    answers = [ask("GET", "/v3/whoami") for _ in range(20)]
    refused = [answer for answer in answers if answer.status != 200]
    assert 200 in {answer.status for answer in answers[:10]}
    assert refused
    for answer in refused:
        assert (answer.status, answer.document["code"]) == (429, "TOO_MANY_REQUESTS")
        assert 0 < answer.document["details"]["retry_after_s"] <= 1
        assert answer.headers["Retry-After"] == "1"
    other = clients(hub.url, hub.new_token("bob"))
    assert other("GET", "/v3/whoami").status == 200, "each user has a rate"
    assert clients(hub.url, None)("GET", "/healthz").status == 200
    deadline = time.monotonic() + 30
    while ask("GET", "/v3/whoami").status != 200:
        assert time.monotonic() < deadline
        time.sleep(refused[0].document["details"]["retry_after_s"])


def test_without_a_rate_nobody_is_refused(ask: Any) -> None:
    assert {ask("GET", "/v3/whoami").status for _ in range(300)} == {200}


def test_wrong_tokens_are_slowed_down_and_good_ones_not(hub: Any, ask: Any, client_for: Any) -> None:
    stranger = client_for("fxl_" + "x" * 43)
    answers = [stranger("GET", "/v3/whoami") for _ in range(FAILURE_BURST + 40)]
    assert {answer.status for answer in answers[:FAILURE_BURST]} == {401}
    assert answers[-1].status == 429
    assert ask("GET", "/v3/whoami").status == 200
    (denied,) = [entry for entry in noted(hub) if entry["event"] == "denied"]
    assert (denied["code"], denied["count"]) == ("NOT_AUTHENTICATED", FAILURE_BURST + 40)
    assert denied["address"] == "127.0.0.1"


# --- what is written down ---------------------------------------------------------------------------


def test_what_users_do_is_written_down_without_secrets(hub: Any, ask: Any, agent: Any, listen: Any) -> None:
    body = base64.b64encode(b"very secret code").decode()
    document = {"function_name": "f", "format": "funcx-lab", "body": body}
    function_id = ask("POST", "/v3/functions", document).document["function_uuid"]
    with ask.stream() as connection:
        submit = Submit(1, "cluster", function_id, GROUP, [NewTask(TASK, b"secret argument")])
        connection.send(client_codec.encode(submit))
        listen(connection)
    ask("POST", f"/v3/endpoints/{agent.endpoint_id}/enrol", {"enrolment_token": "x", "public_key": "k" * 40})
    ask("GET", "/v3/whoami", headers={"Host": "evil.com"})
    ask("DELETE", "/v2/endpoints/cluster")
    ask("DELETE", f"/v2/functions/{function_id}")
    told = {entry["event"]: entry for entry in noted(hub)}
    assert set(told) >= {
        *("start", "endpoint-registered", "endpoint-enrolled", "function-registered", "submit"),
        *("endpoint-deleted", "function-deleted", "denied"),
    }
    assert (told["submit"]["user"], told["submit"]["count"], told["submit"]["first"]) == ("ada", 1, TASK)
    assert told["submit"]["sha256"] == told["function-registered"]["sha256"]
    text = hub.config.audit.read_text()
    for secret in (ask.token, agent.about["agent_token"], "secret", body):
        assert secret not in text
    assert verify(hub.config.audit) == (len(noted(hub)), "")


def test_the_log_is_written_about_every_second(hub: Any, ask: Any) -> None:
    ask("POST", "/v3/endpoints", {"endpoint_name": "away"})
    deadline = time.monotonic() + 30
    while not hub.config.audit.exists() or b"away" not in hub.config.audit.read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# --- the way out ------------------------------------------------------------------------------------


def test_who_comes_while_it_stops_is_sent_back_and_what_was_accepted_is_answered(hub: Any, ask: Any) -> None:
    writing, go_on = threading.Event(), threading.Event()

    def slow(_connection: Any) -> None:
        writing.set()
        go_on.wait(10)

    answers: list[Any] = []
    assert ask("GET", "/v3/whoami").status == 200
    hub.do(lambda: hub.service.database.submit(slow, lambda value, error: None))
    assert writing.wait(5)
    accepted = threading.Thread(
        target=lambda: answers.append(ask("POST", "/v3/endpoints", {"endpoint_name": "last"}))
    )
    accepted.start()
    deadline = time.monotonic() + 30
    while not hub.do(lambda: bool(hub.service.services.gate.busy)):
        assert time.monotonic() < deadline
    stopping = threading.Thread(target=hub.stop)
    stopping.start()
    while not hub.service.services.gate.stopping:
        assert time.monotonic() < deadline
    go_on.set()
    accepted.join(10)
    stopping.join(10)
    assert answers[0].status == 200


def test_a_kept_connection_is_told_that_the_service_stops(hub: Any, ask: Any) -> None:
    assert ask("GET", "/v3/whoami").status == 200
    hub.service.services.gate.stopping = True
    answer = ask("GET", "/v3/whoami")
    assert (answer.status, answer.document["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert int(answer.headers["Retry-After"]) >= 1
    with pytest.raises(InvalidStatus, match="503"), ask.stream():
        pass


def test_connections_over_the_limit_are_hung_up_on(hub: Any, ask: Any) -> None:
    server = hub.service._server
    assert isinstance(server, CappedServer)
    hub.do(lambda: server.cap(20))
    address = urllib3.util.parse_url(hub.url)
    with contextlib.ExitStack() as stack:
        strangers = [
            stack.enter_context(socket.create_connection((str(address.host), int(address.port or 0)), 5))
            for _ in range(40)
        ]
        closed = [stranger for stranger in strangers if hangs_up(stranger)]
        assert len(closed) == 20
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            assert ask("GET", "/v3/whoami").status == 200
            break
        assert time.monotonic() < deadline


def hangs_up(connection: socket.socket) -> bool:
    connection.settimeout(0.2)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True
