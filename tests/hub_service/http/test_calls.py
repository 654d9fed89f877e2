"""What a task calls: inputs by name and size, plain source, the same call once more; nothing is opened."""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from funcx_lab.protocol.messages import Outcome, TaskOptions
from funcx_lab.protocol.stream import NewTask, Submit, Submitted, client_codec
from funcx_lab.serialize import map_cell, pack_arguments, pack_cell

GROUP = "11111111-1111-4111-8111-111111111111"
NOBODYS = "00000000-0000-4000-8000-000000000000"


class Odd:
    """Travels as a pickle only."""


@pytest.fixture
def register(ask: Any) -> Callable[..., str]:
    def register_one(body: bytes, **meta: Any) -> str:
        packed = base64.b64encode(body).decode()
        document = {"function_name": "f", "format": "funcx-lab", "body": packed, "meta": meta}
        return str(ask("POST", "/v3/functions", document).document["function_uuid"])

    return register_one


@pytest.fixture
def submit(ask: Any, agent: Any, listen: Any) -> Callable[..., str]:
    """Submit one task as the SDK does and wait until it is on disk."""

    def submit_one(function_id: str, task: NewTask, options: TaskOptions | None = None) -> str:
        with ask.stream() as connection:
            connection.send(client_codec.encode(Submit(1, "cluster", function_id, GROUP, [task], options)))
            assert listen(connection) == Submitted(1)
        return task.task_id

    return submit_one


def new_task(*args: Any, **kwargs: Any) -> NewTask:
    return NewTask(str(uuid.uuid4()), pack_arguments(args, kwargs).tobytes())


def cell(text: str) -> Any:
    return pack_cell(text, filename="c.py", first_line=1, inputs=["x"], outputs=None, imports=[])


def inputs(ask: Any, task_id: str) -> dict[str, tuple[int | None, str | None]]:
    answer = ask("GET", f"/v3/tasks/{task_id}/inputs")
    assert answer.status == 200, answer.document
    return {each["name"]: (each["size"], each["type"]) for each in answer.document["inputs"]}


def test_plain_inputs_are_told_by_name_size_and_kind(ask: Any, register: Any, submit: Any) -> None:
    function_id = register(b"body", parameters=["first", "second"], source="def f(first): ...\n")
    array = np.zeros((3, 4))
    told = inputs(
        ask,
        submit(
            function_id,
            new_task(1, "four", 2.5, deep={"a": [array + 1]}, flat=array, raw=b"x" * 100_000, no=None),
        ),
    )
    assert list(told) == ["first", "second", "argument 3", "deep", "flat", "raw", "no"]
    assert told["first"] == (1, "int")
    assert told["second"] == (5, "str")
    assert told["argument 3"] == (9, "float")
    assert told["flat"][1] == "array f8 (3, 4)"
    assert 96 < (told["flat"][0] or 0) < 150
    assert told["deep"][1] == "dict"
    assert 96 < (told["deep"][0] or 0) < 150
    assert told["raw"][1] == "bytes"
    assert 100_000 < (told["raw"][0] or 0) < 100_050
    assert told["no"] == (1, "None")


def test_inputs_that_cannot_be_told_apart_are_one(ask: Any, register: Any, submit: Any) -> None:
    function_id = register(b"body")
    for payload in (b"03\nanything", b"\x93FXL and no more", b""):
        task_id = submit(function_id, NewTask(str(uuid.uuid4()), payload))
        assert inputs(ask, task_id) == {"arguments": (len(payload), None)}


def test_inputs_in_an_object_are_told_from_its_beginning(ask: Any, register: Any, submit: Any) -> None:
    payload = pack_arguments((), {"big": np.zeros(2_000_000, "u1"), "small": 1}).tobytes()
    sha256 = hashlib.sha256(payload).hexdigest()
    assert ask("PUT", f"/v3/objects/{sha256}", body=payload).status in (200, 201)
    task = NewTask(str(uuid.uuid4()), b"", object=(sha256, len(payload)))  # type: ignore[arg-type]  # as on the wire
    told = inputs(ask, submit(register(b"body"), task))
    assert told["big"][1] == "array u1 (2000000,)"
    assert told["small"] == (1, "int")


def test_a_cells_source_and_shared_inputs_are_told(ask: Any, register: Any, submit: Any) -> None:
    packed = cell("y = x + 1\ny")
    function_id = register(packed.body, source="something else")
    task_id = submit(function_id, new_task(x=41))
    assert ask("GET", f"/v3/tasks/{task_id}/inputs").document == {
        "inputs": [{"name": "x", "size": 1, "type": "int"}],
        "source": "y = x + 1\ny",
    }
    assert ask("GET", f"/v2/functions/{function_id}").document["source"] == "y = x + 1\ny"
    mapped = map_cell(packed, ["x"], pack_arguments((), {"shared": [1, 2, 3]}))
    task_id = submit(register(mapped.body), new_task([[1], [2]]))
    assert list(inputs(ask, task_id)) == ["shared", "argument 1"]


def test_a_functions_source_is_told_alone(ask: Any, register: Any) -> None:
    function_id = register(b"body", source="def f(): ...", code_sha256="0" * 64)
    assert ask("GET", f"/v2/functions/{function_id}").document["source"] == "def f(): ..."
    (listed,) = ask("GET", "/v3/functions").document["functions"]
    assert listed["meta"] == {"code_sha256": "0" * 64}
    assert "source" not in listed


def test_a_call_is_made_again_each_time_it_is_asked_for(
    ask: Any, agent: Any, register: Any, submit: Any
) -> None:
    seen: list[Any] = []

    def answer(task: Any) -> Outcome:
        seen.append(task)
        return Outcome(True, b"out")

    agent.answer = answer
    options = TaskOptions(label="mine", walltime_s=9.0, memo="0" * 64, requires=["numpy"])
    task = new_task(1, x=2)
    first = submit(register(b"body", code_sha256="1" * 64), task, options)
    assert ask("GET", f"/v3/tasks/{first}?wait=30").document["state"] == "success"
    again = [ask("POST", f"/v3/tasks/{first}/retry").document["task_id"] for _ in range(2)]
    assert len({first, *again}) == 3
    original = ask("GET", f"/v3/tasks/{first}").document
    for task_id in again:
        record = ask("GET", f"/v3/tasks/{task_id}?wait=30").document
        assert (record["state"], record["repeats"], record["reused_from"]) == ("success", first, None)
        for name in ("function_id", "endpoint_id", "task_group_id", "label", "code_hash", "input_hash"):
            assert record[name] == original[name]
    assert {each.payload for each in seen} == {task.payload}
    assert [each.options.walltime_s for each in seen] == [9.0, 9.0, 9.0]


def test_a_call_of_a_deleted_function_is_made_again(ask: Any, register: Any, submit: Any) -> None:
    function_id = register(b"body", source="def f(): ...", code_sha256="1" * 64)
    first = submit(function_id, new_task(1))
    ask("DELETE", f"/v2/functions/{function_id}")
    again = ask("POST", f"/v3/tasks/{first}/retry").document["task_id"]
    record = ask("GET", f"/v3/tasks/{again}?wait=30").document
    assert (record["state"], record["code_hash"]) == ("success", "1" * 12)
    assert ask("GET", f"/v3/tasks/{again}/inputs").document["source"] == "def f(): ..."


def test_a_call_to_a_deleted_endpoint_is_refused_in_words(ask: Any, register: Any, submit: Any) -> None:
    first = submit(register(b"body"), new_task(1))
    ask("GET", f"/v3/tasks/{first}?wait=30")
    ask("DELETE", "/v2/endpoints/cluster")
    answer = ask("POST", f"/v3/tasks/{first}/retry")
    assert (answer.status, answer.document["code"]) == (404, "ENDPOINT_NOT_FOUND")


@pytest.mark.parametrize(("verb", "what"), [("POST", "retry"), ("GET", "inputs")])
def test_the_calls_of_others_are_not_there(
    ask: Any, register: Any, submit: Any, hub: Any, client_for: Any, verb: str, what: str
) -> None:
    mine = submit(register(b"body"), new_task(1))
    eve = client_for(hub.new_token("eve"))
    theirs = eve(verb, f"/v3/tasks/{mine}/{what}")
    nobodys = eve(verb, f"/v3/tasks/{NOBODYS}/{what}")
    assert theirs.status == nobodys.status == 404
    assert theirs.content.replace(mine.encode(), NOBODYS.encode()) == nobodys.content
    assert eve("GET", "/v3/tasks").document["tasks"] == []
