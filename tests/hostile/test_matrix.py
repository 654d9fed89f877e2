"""Who may do what to whose thing: every route of openapi.yaml, by its owner, a stranger and agents."""

from __future__ import annotations

import hashlib
import re
import statistics
import time
import uuid
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest
import yaml

from funcx_lab.protocol.messages import (
    Event,
    EventBatch,
    Events,
    Lost,
    ObjectRef,
    Outcome,
    ResultItem,
    Results,
    Started,
)
from funcx_lab.protocol.stream import (
    CancelTasks,
    Failed,
    Follow,
    NewTask,
    Submit,
    Subscribe,
    Watch,
    client_codec,
    service_codec,
)

DOCUMENT: dict[str, Any] = yaml.safe_load(
    (files("funcx_lab_hub_service") / "openapi.yaml").read_text(encoding="utf-8")
)
VERBS = ("get", "head", "post", "put", "delete", "patch")
OPERATIONS = [
    (verb.upper(), path) for path, item in DOCUMENT["paths"].items() for verb in VERBS if verb in item
]
PUBLIC = {"/healthz", "/v2/version", "/v3/endpoints/{endpoint_id}/enrol"}
OWNED = [(verb, path) for verb, path in OPERATIONS if "{" in path and path not in PUBLIC]
SECRET = b"a result of ada's that only she may see"
SHA = hashlib.sha256(SECRET).hexdigest()


class Things:
    """One of everything that belongs to ada, and ids that belong to nobody."""

    def __init__(self, ada: Any, agent: Any, submit: Callable[..., str]) -> None:
        self.function_id = ada(
            "POST", "/v3/functions", {"function_name": "secret", "function_code": "3\nxyz"}
        ).document["function_uuid"]
        document = {"tasks": {self.function_id: ["argument"]}}
        submitted = ada("POST", "/v3/endpoints/cluster/submit", document).document
        self.group_id = submitted["task_group_id"]
        self.task_id = submitted["tasks"][self.function_id][0]
        agent.answer(agent.take(), Outcome(True, SECRET))
        assert ada("GET", f"/v3/tasks/{self.task_id}?wait=10").document["state"] == "success"
        self.waiting_id = submit(ada, "cluster", self.function_id)
        self.sha256 = SHA
        assert ada("PUT", f"/v3/objects/{SHA}", body=SECRET).status == 201
        self.endpoint_id = agent.endpoint_id

    def place(self, path: str, *, there: bool) -> str:
        """Fill in ada's id, or one that is nobody's."""
        names = {
            "function_id": self.function_id,
            "endpoint": self.endpoint_id,
            "endpoint_id": self.endpoint_id,
            "task_id": self.task_id,
            "group_id": self.group_id,
            "sha256": self.sha256,
        }
        (name,) = re.findall(r"\{(\w+)\}", path)
        value = names[name]
        if not there:
            value = "f" * 64 if name == "sha256" else str(uuid.UUID(int=uuid.UUID(value).int ^ 1))
        return path.replace(f"{{{name}}}", value)


@pytest.fixture(scope="module")
def agent(ada: Any, agent_of: Callable[..., Any]) -> Any:
    return agent_of(ada, "cluster").connect()


@pytest.fixture(scope="module")
def evil(eve: Any, agent_of: Callable[..., Any]) -> Any:
    """An agent of eve's own endpoint, which has the same name."""
    return agent_of(eve, "cluster").connect()


@pytest.fixture(scope="module")
def eve_function(eve: Any) -> str:
    document = {"function_name": "f", "function_code": "3\nabc"}
    return str(eve("POST", "/v3/functions", document).document["function_uuid"])


@pytest.fixture(scope="module")
def things(ada: Any, agent: Any) -> Things:
    def submit(client: Any, endpoint: str, function_id: str) -> str:
        answer = client("POST", f"/v3/endpoints/{endpoint}/submit", {"tasks": {function_id: ["x"]}})
        return str(answer.document["tasks"][function_id][0])

    return Things(ada, agent, submit)


def body_of(path: str, things: Things) -> Any:
    return {"/v3/endpoints/{endpoint}/submit": {"tasks": {things.function_id: ["x"]}}}.get(path, {})


def ask(client: Any, verb: str, path: str, things: Things, *, there: bool) -> Any:
    place = things.place(path, there=there)
    if verb == "PUT":
        return client(verb, place, body=b"other bytes")
    return client(verb, place, body_of(path, things) if verb == "POST" else None)


def without_ids(content: bytes, things: Things) -> bytes:
    """Return an answer without the id that was asked for: the rest must not tell the two apart."""
    for there in (True, False):
        for _, path in OWNED:
            name = things.place(path, there=there).split("/")[3]
            content = content.replace(name.encode(), b"ID")
    return content


@pytest.mark.parametrize(("verb", "path"), OWNED)
def test_what_is_anothers_cannot_be_told_from_what_is_not(
    eve: Any, ada: Any, evil: Any, things: Things, verb: str, path: str
) -> None:
    forbidden = ask(eve, verb, path, things, there=True)
    absent = ask(eve, verb, path, things, there=False)
    assert forbidden.status == absent.status
    assert forbidden.status in ((422,) if verb == "PUT" else (404,))
    assert without_ids(forbidden.content, things) == without_ids(absent.content, things)
    ignored = {"Date", "Content-Length"} if verb != "HEAD" else {"Date"}
    assert {k: v for k, v in forbidden.headers.items() if k not in ignored} == {
        k: v for k, v in absent.headers.items() if k not in ignored
    }
    # And nothing of ada's has changed.
    for mine in ("/v2/functions/{function_id}", "/v2/endpoints/{endpoint}", "/v3/tasks/{task_id}"):
        assert ada("GET", things.place(mine, there=True)).status == 200


@pytest.mark.parametrize(("verb", "path"), [each for each in OWNED if each[0] in ("GET", "HEAD")])
def test_the_owner_sees_it(ada: Any, things: Things, verb: str, path: str) -> None:
    assert ask(ada, verb, path, things, there=True).status == 200


@pytest.mark.parametrize(("verb", "path"), [each for each in OPERATIONS if each[1] not in PUBLIC])
def test_an_agent_of_another_user_gets_nothing(
    client_for: Any, evil: Any, things: Things, verb: str, path: str
) -> None:
    """Neither what is ada's, nor what only people may ask."""
    client = client_for(evil.token)
    if "{" not in path:
        allowed = path in ("/v3/whoami", "/v3/link")
        answer = client(verb, path, {} if verb == "POST" else None)
        assert answer.status == (200 if allowed else 403)
        assert b"ada" not in answer.content
        return
    answer = ask(client, verb, path, things, there=True)
    assert answer.status in (403, 404, 422)
    assert SECRET not in answer.content


@pytest.mark.parametrize(
    "path", ["/v3/functions", "/v3/endpoints", "/v2/endpoints", "/v3/tasks", "/v3/stats"]
)
def test_lists_hold_ones_own_only(eve: Any, evil: Any, things: Things, path: str) -> None:
    content = eve("GET", path).content.decode()
    for foreign in (things.function_id, things.endpoint_id, things.task_id, things.group_id, "ada"):
        assert foreign not in content


@pytest.mark.parametrize(
    "query", ["group={group}", "endpoint={endpoint}", "before=9007199254740992", "state=success"]
)
def test_a_filter_leads_nowhere_else(eve: Any, things: Things, query: str) -> None:
    filled = query.format(group=things.group_id, endpoint=things.endpoint_id)
    answer = eve("GET", f"/v3/tasks?{filled}")
    assert answer.status == 404 or answer.document["tasks"] == []


def test_ids_in_bodies_open_nothing(eve: Any, ada: Any, evil: Any, things: Things, eve_function: str) -> None:
    path = "/v3/endpoints/cluster/submit"
    # a function of ada's on one's own endpoint, one's own function on ada's endpoint
    assert eve("POST", path, {"tasks": {things.function_id: ["x"]}}).status == 404
    foreign = f"/v3/endpoints/{things.endpoint_id}/submit"
    assert eve("POST", foreign, {"tasks": {eve_function: ["x"]}}).status == 404
    # one's own task in ada's group shows in neither view of the other
    document = {"tasks": {eve_function: ["x"]}, "task_group_id": things.group_id}
    submitted = eve("POST", path, document).document
    (own,) = submitted["tasks"][eve_function]
    assert eve("GET", f"/v2/taskgroup/{things.group_id}").document["tasks"] == [{"id": own}]
    assert {"id": own} not in ada("GET", f"/v2/taskgroup/{things.group_id}").document["tasks"]
    assert eve("POST", "/v3/tasks/cancel", {"task_ids": [things.waiting_id]}).document == {"cancelled": []}
    told = eve("POST", "/v2/batch_status", {"task_ids": [things.task_id, str(uuid.UUID(int=7))]})
    foreign_task, absent = told.document["results"].values()
    assert foreign_task["status"] == absent["status"] == "failed"
    assert SECRET.decode() not in told.content.decode()
    taken = eve("POST", "/v3/endpoints", {"endpoint_name": "mine", "endpoint_uuid": things.endpoint_id})
    assert taken.status == 409
    assert ada("GET", f"/v2/endpoints/{things.endpoint_id}").document["owner"] == "ada"


def test_the_stream_tells_nothing_of_anothers(eve: Any, ada: Any, evil: Any, things: Things) -> None:
    absent = str(uuid.UUID(int=7))
    with eve.stream() as connection:

        def said(message: Any, count: int) -> list[Any]:
            connection.send(client_codec.encode(message))
            return [service_codec.decode(connection.recv(10)) for _ in range(count)]

        for message in (Watch([things.task_id, absent]), Follow(things.task_id), Follow(absent)):
            for answer in said(message, 2 if isinstance(message, Watch) else 1):
                assert isinstance(answer, Failed)
                assert answer.error["code"] == "TASK_NOT_FOUND"
        connection.send(client_codec.encode(Subscribe(things.group_id)))
        (cancelled,) = said(CancelTasks(7, [things.waiting_id, things.task_id]), 1)
        assert cancelled.task_ids == []
        (refused,) = said(Submit(8, things.endpoint_id, things.function_id, absent, [NewTask(absent)]), 1)
        assert refused.error["code"] == "ENDPOINT_NOT_FOUND"
        (refused,) = said(Submit(9, "cluster", things.function_id, absent, [NewTask(absent)]), 1)
        assert refused.error["code"] == "FUNCTION_NOT_FOUND"
        with pytest.raises(TimeoutError):  # nothing came of the subscription
            connection.recv(0.3)
    assert ada("GET", f"/v3/tasks/{things.waiting_id}").document["state"] != "cancelled"


def test_the_same_task_id_is_not_anothers_task(
    eve: Any, ada: Any, evil: Any, things: Things, eve_function: str
) -> None:
    with eve.stream() as connection:
        task = NewTask(things.task_id, b"payload of eve's")
        connection.send(client_codec.encode(Submit(1, "cluster", eve_function, things.group_id, [task])))
        answer = service_codec.decode(connection.recv(10))
    assert [refusal.error["code"] for refusal in answer.refused] == ["CONFLICT"]
    assert ada("GET", f"/v3/tasks/{things.task_id}/result").content.count(SECRET) == 1


def test_knowing_an_objects_name_does_not_open_it(
    eve: Any, ada: Any, evil: Any, things: Things, eve_function: str, submit: Any, client_for: Any
) -> None:
    """Not as an argument of one's own task, nor as the result that one's own endpoint claims."""
    with eve.stream() as connection:
        task = NewTask(str(uuid.uuid4()), b"", ObjectRef(SHA, len(SECRET)))
        connection.send(client_codec.encode(Submit(1, "cluster", eve_function, str(uuid.uuid4()), [task])))
        answer = service_codec.decode(connection.recv(10))
    assert [refusal.error["code"] for refusal in answer.refused] == ["OBJECT_NOT_FOUND"]
    evil.connect(nonce="again")
    task_id = submit(eve, "cluster", eve_function)
    while (item := evil.take()).task_id != task_id:
        evil.answer(item, Outcome(True, b""))
    evil.answer(item, Outcome(True, b"", ObjectRef(SHA, len(SECRET))))
    record = eve("GET", f"/v3/tasks/{task_id}?wait=10").document
    assert record["state"] in ("success", "failed")
    for client in (eve, client_for(evil.token)):
        assert client("GET", f"/v3/objects/{SHA}").status == 404
        assert client("HEAD", f"/v3/objects/{SHA}").status == 404
    assert SECRET not in eve("GET", f"/v2/tasks/{task_id}").content
    assert ada("GET", f"/v3/objects/{SHA}").content == SECRET


def test_an_agent_settles_tasks_of_its_own_endpoint_only(
    ada: Any, evil: Any, things: Things, until: Any
) -> None:
    evil.connect(nonce="third")
    for task_id in (things.waiting_id, things.task_id):
        evil.send(Results(evil.session, [ResultItem(task_id, 1, "evil", Outcome(True, b"forged"))]))
        evil.send(Started(evil.session, [(task_id, 1, "evil", 1.0, {"host": "forged"})]))
        evil.send(Events(evil.session, [EventBatch(task_id, "evil", 0, [Event(1.0, "stdout", "forged")])]))
        evil.send(Lost(evil.session, [(task_id, 1, f"evil{n}", "forged") for n in range(5)]))
    time.sleep(0.2)
    for task_id, state in ((things.waiting_id, None), (things.task_id, "success")):
        record = ada("GET", f"/v3/tasks/{task_id}").document
        assert state is None or record["state"] == state
        assert not record["error"]
        assert b"forged" not in ada("GET", f"/v3/tasks/{task_id}/events").content
    assert b"forged" not in ada("GET", f"/v3/tasks/{things.task_id}/result").content


def test_the_time_of_an_answer_does_not_tell(eve: Any, things: Things) -> None:
    """Medians of many alternating requests: within noise of each other."""
    path = "/v2/functions/{function_id}"
    times: dict[bool, list[float]] = {True: [], False: []}
    for number in range(600):
        there = number % 2 == 0
        began = time.perf_counter()
        ask(eve, "GET", path, things, there=there)
        times[there].append(time.perf_counter() - began)
    forbidden, absent = (statistics.median(times[there]) for there in (True, False))
    assert abs(forbidden - absent) < 0.5 * min(forbidden, absent) + 0.0005


def test_every_operation_of_the_file_is_in_the_matrix() -> None:
    assert len(OPERATIONS) >= 24
    assert {path for verb, path in OPERATIONS if "{" in path} - {path for _, path in OWNED} <= PUBLIC
