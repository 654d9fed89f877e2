"""The OpenAPI file against the routes, both ways, and against what really comes."""

from __future__ import annotations

import base64
import uuid
from importlib.resources import files
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from funcx_lab.protocol.messages import ErrorInfo, Outcome
from funcx_lab_hub_service.handlers import routes

DOCUMENT: dict[str, Any] = yaml.safe_load(
    (files("funcx_lab_hub_service") / "openapi.yaml").read_text(encoding="utf-8")
)
VERBS = ("get", "head", "post", "put", "delete", "patch", "options")


def own_verbs(handler: type) -> set[str]:
    ours = {name for cls in handler.__mro__ if cls.__module__.startswith("funcx_lab") for name in vars(cls)}
    # the WebSocket's GET is tornado's
    return {verb for verb in VERBS if verb in ours} or {"get"}


def test_the_file_is_openapi() -> None:
    validate(DOCUMENT)


def test_every_route_is_in_the_file_and_every_path_is_a_route() -> None:
    served = {(path, verb) for path, handler in routes for verb in own_verbs(handler)}
    written = {(path, verb) for path, item in DOCUMENT["paths"].items() for verb in item if verb in VERBS}
    assert served == written


def test_the_file_names_the_routes_without_a_token() -> None:
    public = {path for path, handler in routes if handler.public}
    written = {
        path
        for path, item in DOCUMENT["paths"].items()
        if any(item[verb].get("security") == [] for verb in VERBS if verb in item)
    }
    assert public == written


def check(answer: Any, path: str, verb: str = "get") -> Any:
    """Hold an answer against what the file says of the route; return the document."""
    responses = DOCUMENT["paths"][path][verb]["responses"]
    response = responses.get(str(answer.status)) or responses[f"{answer.status // 100}XX"]
    if "$ref" in response:
        response = DOCUMENT["components"]["responses"][response["$ref"].rpartition("/")[2]]
    ((media_type, content),) = response["content"].items()
    assert answer.headers["Content-Type"] == media_type
    if "schema" not in content:
        return answer.content
    schema = {**content["schema"], "components": DOCUMENT["components"]}
    Draft202012Validator(schema).validate(answer.document)
    return answer.document


@pytest.fixture
def globus_function(ask: Any) -> str:
    document = {
        "function_name": "f",
        "function_code": "3\nabc",
        "serialized": True,
        "meta": {"python_version": "3.11"},
    }
    answer = ask("POST", "/v3/functions", document)
    return str(check(answer, "/v3/functions", "post")["function_uuid"])


def test_the_service_answers_as_written(ask: Any) -> None:
    for path in ("/healthz", "/v2/version", "/v3/whoami", "/v3/stats"):
        check(ask("GET", path), path)


def test_functions_answer_as_written(ask: Any, globus_function: str) -> None:
    body = base64.b64encode(b"payload").decode()
    check(
        ask("POST", "/v3/functions", {"function_name": "g", "format": "funcx-lab", "body": body}),
        "/v3/functions",
        "post",
    )
    assert len(check(ask("GET", "/v3/functions"), "/v3/functions")["functions"]) == 2
    path = "/v2/functions/{function_id}"
    check(ask("GET", f"/v2/functions/{globus_function}"), path)
    check(ask("DELETE", f"/v2/functions/{globus_function}"), path, "delete")
    check(ask("GET", f"/v2/functions/{globus_function}"), path)


def test_endpoints_answer_as_written(ask: Any, client_for: Any) -> None:
    document = {"endpoint_name": "away", "metadata": {"site": "here"}, "endpoint_uuid": str(uuid.uuid4())}
    registered = check(ask("POST", "/v3/endpoints", document), "/v3/endpoints", "post")
    enrolment = {"enrolment_token": registered["enrolment_token"], "public_key": "k" * 40}
    place = f"/v3/endpoints/{registered['endpoint_id']}/enrol"
    path = "/v3/endpoints/{endpoint_id}/enrol"
    agent = client_for(check(client_for(None)("POST", place, enrolment), path, "post")["agent_token"])
    check(client_for(None)("POST", place, enrolment), path, "post")
    check(agent("GET", "/v3/link"), "/v3/link")
    assert check(ask("GET", "/v3/endpoints"), "/v3/endpoints")["endpoints"][0]["state"] == "registered"
    check(ask("GET", "/v2/endpoints?role=any"), "/v2/endpoints")
    check(ask("GET", "/v2/endpoints/away"), "/v2/endpoints/{endpoint}")
    check(ask("GET", "/v2/endpoints/away/status"), "/v2/endpoints/{endpoint}/status")
    check(ask("DELETE", "/v2/endpoints/away"), "/v2/endpoints/{endpoint}", "delete")


def test_tasks_answer_as_written(ask: Any, agent: Any, globus_function: str) -> None:
    outcomes = {
        "good": Outcome(True, b"3\nabc", worker={"python": "3.11.7"}, started=1.0, ended=2.0),
        "bad": Outcome(False, error=ErrorInfo("TASK_FAILED", "no", "ValueError", "Traceback: no")),
        "never": None,
    }
    agent.answer = lambda task: outcomes[task.payload.decode()]
    path = "/v3/endpoints/{endpoint}/submit"
    document = {"tasks": {globus_function: list(outcomes)}, "create_queue": False}
    submitted = check(ask("POST", "/v3/endpoints/cluster/submit", document), path, "post")
    good, bad, never = submitted["tasks"][globus_function]

    assert check(ask("GET", f"/v3/tasks/{good}?wait=10"), "/v3/tasks/{task_id}")["state"] == "success"
    assert check(ask("GET", f"/v3/tasks/{bad}?wait=10"), "/v3/tasks/{task_id}")["error"]["message"] == "no"
    assert check(ask("GET", f"/v3/tasks/{good}/result"), "/v3/tasks/{task_id}/result")
    pending = ask("GET", f"/v3/tasks/{never}/result")
    assert check(pending, "/v3/tasks/{task_id}/result")["code"] == "TASK_PENDING"
    events = check(ask("GET", f"/v3/tasks/{good}/events"), "/v3/tasks/{task_id}/events")
    assert events["ended"]
    assert events["events"][-1][1]["data"]["state"] == "success"
    page = check(ask("GET", "/v3/tasks?limit=2"), "/v3/tasks")
    rest = check(ask("GET", f"/v3/tasks?limit=2&before={page['next']}"), "/v3/tasks")
    assert [task["task_id"] for task in page["tasks"] + rest["tasks"]] == [never, bad, good]
    assert rest["next"] is None
    listed = check(ask("GET", "/v3/tasks?state=failed,success&endpoint=cluster"), "/v3/tasks")
    assert {task["task_id"] for task in listed["tasks"]} == {good, bad}

    globus = check(ask("GET", f"/v2/tasks/{good}"), "/v2/tasks/{task_id}")
    assert (globus["status"], globus["result"]) == ("success", "3\nabc")
    assert globus["details"]["python_version"] == "3.11.7"
    absent = str(uuid.uuid4())
    batch = ask("POST", "/v2/batch_status", {"task_ids": [good, bad, never, absent]})
    results = check(batch, "/v2/batch_status", "post")["results"]
    assert results[bad]["exception"] == "Traceback: no"
    assert results[never]["status"] not in ("success", "failed")
    assert results[absent]["status"] == "failed"
    group = check(ask("GET", f"/v2/taskgroup/{submitted['task_group_id']}"), "/v2/taskgroup/{group_id}")
    assert [task["id"] for task in group["tasks"]] == [good, bad, never]
    check(ask("GET", f"/v2/taskgroup/{absent}"), "/v2/taskgroup/{group_id}")

    cancelled = ask("POST", "/v3/tasks/cancel", {"task_ids": [never, good]})
    assert check(cancelled, "/v3/tasks/cancel", "post") == {"cancelled": [never]}
    assert ask("GET", f"/v2/tasks/{never}").document["status"] == "failed"
    assert "cancelled" in ask("GET", f"/v2/tasks/{never}").document["exception"]


def test_a_result_in_our_packing_is_refused_in_words(ask: Any, agent: Any, globus_function: str) -> None:
    agent.answer = lambda task: Outcome(True, b"\x93FXL and so on")
    document = {"tasks": {globus_function: ["x"]}}
    submitted = ask("POST", "/v3/endpoints/cluster/submit", document).document
    (task_id,) = submitted["tasks"][globus_function]
    ask("GET", f"/v3/tasks/{task_id}?wait=10")
    answer = ask("GET", f"/v2/tasks/{task_id}").document
    assert answer["status"] == "failed"
    assert "FuncXClient" in answer["exception"]


@pytest.mark.parametrize(
    ("endpoint", "changes", "code"),
    [
        ("nowhere", {}, "ENDPOINT_NOT_FOUND"),
        ("cluster", {"tasks": {"00000000-0000-4000-8000-000000000000": ["x"]}}, "FUNCTION_NOT_FOUND"),
        ("cluster", {"task_group_id": "x"}, "INVALID_REQUEST"),
        ("cluster", {"tasks": {"f": "x"}}, "INVALID_REQUEST"),
        ("cluster", {"tasks": []}, "INVALID_REQUEST"),
    ],
)
def test_a_bad_submit_is_refused(
    ask: Any, agent: Any, globus_function: str, endpoint: str, changes: dict[str, Any], code: str
) -> None:
    document = {"tasks": {globus_function: ["x"]}, **changes}
    answer = ask("POST", f"/v3/endpoints/{endpoint}/submit", document)
    assert check(answer, "/v3/endpoints/{endpoint}/submit", "post")["code"] == code
    assert ask("GET", "/v3/tasks").document["tasks"] == []


def test_objects_answer_as_written(ask: Any) -> None:
    path = "/v3/objects/{sha256}"
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    check(ask("PUT", f"/v3/objects/{empty}", body=b"", headers={"Content-Length": "0"}), path, "put")
    check(ask("GET", f"/v3/objects/{empty}"), path)
    check(ask("GET", f"/v3/objects/{'0' * 64}"), path)
