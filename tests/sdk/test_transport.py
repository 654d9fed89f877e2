import json
import socket
import time

import pytest

from funcx_lab import transport as module
from funcx_lab.config import Service
from funcx_lab.errors import (
    MalformedMessage,
    NotAuthenticated,
    NotFound,
    ServiceError,
    ServiceTimeout,
    ServiceUnavailable,
    ServiceUnreachable,
    StorageFull,
    StoreDamaged,
    TaskNotFound,
    TooManyRequests,
)
from funcx_lab.transport import Transport


@pytest.fixture
def transport(standin) -> Transport:
    transport = Transport(Service(standin.url, standin.token), timeout=5)
    yield transport
    transport.close()


def test_error_bodies_become_their_classes(transport) -> None:
    with pytest.raises(TaskNotFound):
        transport.json("GET", "/v3/tasks/1")


def test_a_wrong_token(standin) -> None:
    transport = Transport(Service(standin.url, "wrong"))
    with pytest.raises(NotAuthenticated):
        transport.json("GET", "/v3/endpoints")
    transport.close()


def test_what_is_busy_is_asked_again_after_the_time_it_names(standin, transport) -> None:
    busy = json.dumps(TooManyRequests().as_document())
    standin.answers += [(429, {"Retry-After": "1"}, busy)]
    begin = time.monotonic()
    transport.json("POST", "/v3/endpoints", {"a": 1})
    assert 1.0 <= time.monotonic() - begin < 2.5


def test_what_stays_full_is_an_error(standin, transport, monkeypatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)
    standin.answers += [(503, {"Retry-After": "0"}, json.dumps(StorageFull().as_document()))] * 4
    with pytest.raises(StorageFull):
        transport.json("POST", "/v3/endpoints", {})
    assert standin.answers == []


def test_a_busy_service_is_asked_for_longer_than_one_that_breaks(standin, transport) -> None:
    busy = json.dumps(TooManyRequests(details={"retry_after_s": 0.01}).as_document())
    standin.answers += [(429, {}, busy)] * 6
    transport.json("POST", "/v3/endpoints", {"a": 1})
    assert standin.answers == []


def test_a_damaged_store_is_said_at_once(standin, transport) -> None:
    standin.answers += [(503, {}, json.dumps(StoreDamaged().as_document()))]
    with pytest.raises(StoreDamaged):
        transport.json("POST", "/v3/endpoints", {})
    assert standin.answers == []


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (502, "<html>bad gateway</html>", ServiceUnavailable),
        (418, "tea", ServiceError),
        (404, "", NotFound),
        (302, "", ServiceError),
        (200, "no json", MalformedMessage),
        (400, json.dumps({"code": "NEW_IN_A_LATER_VERSION", "message": "m"}), ServiceError),
    ],
)
def test_answers_that_no_hub_service_gives(standin, transport, status, body, error) -> None:
    standin.answers += [(status, {"Location": "https://elsewhere.example/"}, body)]
    with pytest.raises(error):
        transport.json("POST", "/v3/endpoints", {})


def test_a_bad_gateway_is_asked_again_if_nothing_can_happen_twice(standin, transport) -> None:
    standin.answers += [(502, {}, "")]
    assert transport.json("GET", "/v3/endpoints")["endpoints"]


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    transport = Transport(Service(f"http://127.0.0.1:{port}", "t"))
    with pytest.raises(ServiceUnreachable, match=rf"127.0.0.1:{port} cannot be reached.*funcx-lab status"):
        transport.json("GET", "/v3/endpoints")


def test_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        transport = Transport(Service(url, "t"), timeout=0.1)
        with pytest.raises(ServiceTimeout, match=r"no answer within 0\.1 s"):
            transport.json("POST", "/v3/endpoints", {})
        transport.close()


def test_the_token_is_in_no_repr_and_no_message() -> None:
    service = Service("http://127.0.0.1:1", "secret")
    assert "secret" not in repr(service)
    with pytest.raises(ServiceUnreachable) as caught:
        Transport(service).json("GET", "/")
    assert "secret" not in str(caught.value)
