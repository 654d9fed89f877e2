"""Requests made up from openapi.yaml: no 500, no answer without a token, every answer as written."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from funcx_lab.protocol.messages import Outcome, Tasks

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
CONTENT = b"an object"
#: how a request shows in the service's log
ANSWERED = re.compile(r"hub_service\.app: (\d{3}) (\w+) (\S+)")
PUBLIC = {"/healthz", "/v2/version"}


@pytest.fixture(scope="module")
def known(ada: Any, agent_of: Callable[..., Any]) -> dict[str, list[str]]:
    """Return names of things that are there, by the name of their path parameter; each in every state."""
    agent = agent_of(ada, "cluster").connect()
    document = {"function_name": "f", "function_code": "3\nabc"}
    function_id = ada("POST", "/v3/functions", document).document["function_uuid"]
    tasks = {"tasks": {function_id: ["a", "b", "c"]}}
    submitted = ada("POST", "/v3/endpoints/cluster/submit", tasks).document
    for task, outcome in zip(
        agent.wait_for(Tasks).tasks, (Outcome(True, b"3\nabc"), Outcome(False)), strict=False
    ):
        agent.answer(task, outcome)
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    assert ada("PUT", f"/v3/objects/{sha256}", body=CONTENT).status == 201
    return {
        "function_id": [function_id],
        "endpoint": ["cluster", agent.endpoint_id],
        "endpoint_id": [agent.endpoint_id],
        "task_id": submitted["tasks"][function_id],
        "group_id": [submitted["task_group_id"]],
        "sha256": [sha256],
    }


@pytest.fixture
def spec(known: dict[str, list[str]], tmp_path: Path) -> Path:
    """A copy of the file in which half of the path parameters are things that are there."""
    text = (files("funcx_lab_hub_service") / "openapi.yaml").read_text(encoding="utf-8")
    document = yaml.safe_load(text)
    for item in document["paths"].values():
        if "delete" in item:
            continue  # or nothing would be there any more
        for parameter in item.get("parameters", []):
            if parameter["in"] == "path":
                there = {"type": "string", "enum": known[parameter["name"]]}
                parameter["schema"] = {"anyOf": [there, parameter["schema"]]}
    # schemathesis 4.32 takes prefixItems for the old form of items; test_openapi.py checks those answers.
    pairs = document["paths"]["/v3/tasks/{task_id}/events"]["get"]["responses"]["200"]["content"]
    del pairs["application/json"]["schema"]["properties"]["events"]["items"]["prefixItems"]
    path = tmp_path / "openapi.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def run(hub: Any, spec: Path, token: str | None, *arguments: str) -> list[tuple[int, str, str]]:
    """Run schemathesis, which must find nothing; return ``(status, verb, path)`` of what was answered."""
    headers = [] if token is None else ["--header", f"Authorization: Bearer {token}"]
    before = len(hub.said())
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", str(spec), "--url", hub.url, "--no-color"),
            *("--checks", CHECKS, "--seed", "3", "--generation-database", "none", "--request-timeout", "30"),
            *("--warnings", "off", "--continue-on-failure", *headers, *arguments),
        ],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        cwd=spec.parent,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    answered = [(int(code), verb, path) for code, verb, path in ANSWERED.findall(hub.said()[before:])]
    assert not [each for each in answered if each[0] >= 500]
    assert hub.lives()
    return answered


def test_every_answer_is_as_written(hub: Any, spec: Path) -> None:
    answered = run(hub, spec, hub.tokens["ada"], "--phases", "coverage")
    assert len(answered) > 300
    assert len({path for code, _, path in answered if code == 200}) > 10


def test_nothing_is_answered_without_a_token(hub: Any, spec: Path) -> None:
    answered = run(hub, spec, None, "--phases", "fuzzing", "--max-examples", "5")
    assert len(answered) > 60
    assert {path for code, _, path in answered if code < 400} <= PUBLIC


@pytest.mark.slow
@pytest.mark.timeout(1000)
@pytest.mark.parametrize("who", ["ada", "eve", "agent", "nobody"])
def test_thousands_of_requests(
    hub: Any, spec: Path, who: str, ada: Any, agent_of: Callable[..., Any]
) -> None:
    token = agent_of(ada, "other").token if who == "agent" else hub.tokens.get(who)
    ada("GET", "/v3/whoami")  # the log has the requests before it by now
    phases, examples = ("coverage,fuzzing,stateful", "60") if who == "ada" else ("coverage,fuzzing", "20")
    answered = run(hub, spec, token, "--phases", phases, "--max-examples", examples)
    assert len(answered) > (1000 if who == "ada" else 500)
    if who == "nobody":
        assert {path for code, _, path in answered if code < 400} <= PUBLIC
