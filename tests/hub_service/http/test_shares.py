"""An owner shares an endpoint and a function with a user or a group, and takes that back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from funcx_lab.errors import InvalidRequest, NotAuthorized
from funcx_lab_hub_service.auth.principals import READ, Principal
from funcx_lab_hub_service.sharing import SHARES_LIMIT
from funcx_lab_hub_service.store.shares import Share


@pytest.fixture
def eve(hub: Any, client_for: Callable[..., Any]) -> Any:
    return client_for(hub.new_token("eve"))


@pytest.fixture
def function_id(eve: Any) -> str:
    document = {"function_name": "f", "function_code": "3\nabc"}
    return str(eve("POST", "/v3/functions", document).document["function_uuid"])


SHARES = "/v3/endpoints/cluster/shares"


def submit(client: Any, endpoint: str, function_id: str) -> Any:
    return client("POST", f"/v3/endpoints/{endpoint}/submit", {"tasks": {function_id: ["x"]}})


def names(client: Any) -> list[str]:
    return [entry["name"] for entry in client("GET", "/v3/endpoints").document["endpoints"]]


def test_a_shared_endpoint_takes_tasks_until_it_is_not_shared(
    ask: Any, eve: Any, agent: Any, function_id: str
) -> None:
    assert submit(eve, "cluster", function_id).status == 404
    assert names(eve) == []
    answer = ask("POST", SHARES, {"user": "eve"})
    assert (answer.status, answer.document) == (200, {"shares": [{"user": "eve"}]})
    (seen,) = eve("GET", "/v3/endpoints").document["endpoints"]
    assert (seen["name"], seen["owner"], seen["shared"], seen["shared_with"]) == ("cluster", "ada", True, [])
    (own,) = ask("GET", "/v3/endpoints").document["endpoints"]
    assert (own["shared"], own["shared_with"]) == (False, ["user:eve"])
    task = submit(eve, "cluster", function_id)
    assert task.status == 200
    task_id = task.document["tasks"][function_id][0]
    assert eve("GET", f"/v3/tasks/{task_id}?wait=30").document["state"] == "success"
    # Whose task it is, is hers; not even the endpoint's owner sees it.
    assert ask("GET", f"/v3/tasks/{task_id}").status == 404
    assert ask("DELETE", SHARES, {"user": "eve"}).document == {"shares": []}
    assert submit(eve, "cluster", function_id).status == 404
    assert eve("GET", f"/v2/endpoints/{agent.endpoint_id}/status").status == 404
    assert names(eve) == []
    assert eve("GET", f"/v3/tasks/{task_id}").status == 200, "what was accepted stays hers"


def test_the_owner_keeps_the_rest(ask: Any, eve: Any, agent: Any) -> None:
    ask("POST", SHARES, {"user": "eve"})
    for verb, path in (
        ("GET", SHARES),
        ("POST", SHARES),
        ("DELETE", SHARES),
        ("DELETE", f"/v2/endpoints/{agent.endpoint_id}"),
    ):
        answer = eve(verb, path, {"user": "eve"} if "shares" in path else None)
        assert (answer.status, answer.document["code"]) == (403, "NOT_AUTHORIZED"), (verb, path)
    assert ask("GET", SHARES).document == {"shares": [{"user": "eve"}]}


def test_a_group_counts_for_who_is_in_it(hub: Any, ask: Any, agent: Any) -> None:
    ask("POST", SHARES, {"group": "physics"})
    endpoints = hub.service.services.endpoints
    inside = Principal("bob", groups=frozenset({"physics", "other"}))
    outside = Principal("physics", groups=frozenset({"phys"}))  # a user of a group's name is not in it
    assert [record.name for record in hub.do(lambda: endpoints.list(inside))] == ["cluster"]
    assert hub.do(lambda: endpoints.list(outside)) == []


def test_own_names_go_first_and_shared_ones_are_told_apart(hub: Any, ask: Any, eve: Any, agent: Any) -> None:
    endpoints, bob = hub.service.services.endpoints, Principal("bob")
    mine = eve("POST", "/v3/endpoints", {"endpoint_name": "cluster"}).document["endpoint_id"]
    ask("POST", SHARES, {"user": "eve"})
    assert eve("GET", "/v2/endpoints/cluster").document["uuid"] == mine
    assert eve("GET", "/v2/endpoints/ada%2Fcluster").document["uuid"] == agent.endpoint_id
    for client in (ask, eve):
        client("POST", SHARES, {"user": "bob"})
    with pytest.raises(InvalidRequest, match="ada/cluster, eve/cluster"):
        hub.do(lambda: endpoints.resolve(bob, "cluster"))
    assert hub.do(lambda: endpoints.resolve(bob, "eve/cluster")).endpoint_id == mine


def test_a_function_is_shared_too(ask: Any, eve: Any, function_id: str, agent: Any) -> None:
    path = f"/v3/functions/{function_id}/shares"
    assert submit(ask, "cluster", function_id).status == 404
    assert eve("POST", path, {"user": "ada"}).status == 200
    assert ask("GET", f"/v2/functions/{function_id}").status == 200
    assert submit(ask, "cluster", function_id).status == 200
    assert ask("DELETE", f"/v2/functions/{function_id}").status == 403
    eve("DELETE", path, {"user": "ada"})
    assert submit(ask, "cluster", function_id).status == 404


def test_shares_survive_a_restart_and_not_the_endpoint(
    start: Callable[..., Any], clients: Callable[..., Any]
) -> None:
    first = start()
    ada, eve = first.token, first.new_token("eve")
    client = clients(first.url, ada)
    client("POST", "/v3/endpoints", {"endpoint_name": "cluster"})
    client("POST", SHARES, {"user": "eve"})
    first.stop()
    second = start()
    assert names(clients(second.url, eve)) == ["cluster"]
    client = clients(second.url, ada)
    client("DELETE", "/v2/endpoints/cluster")
    client("POST", "/v3/endpoints", {"endpoint_name": "cluster"})
    assert names(clients(second.url, eve)) == []


@pytest.mark.parametrize(
    "body",
    [
        *({}, {"user": "eve", "group": "g"}, {"user": ""}, {"group": " g"}),
        *({"user": "a\nb"}, {"user": "x" * 256}, {"user": 3}, {"users": "eve"}),
    ],
)
def test_bad_shares_are_refused(ask: Any, agent: Any, body: dict[str, Any]) -> None:
    assert ask("POST", SHARES, body).status == 400
    assert ask("GET", SHARES).document == {"shares": []}


def test_there_are_not_too_many_shares(hub: Any, ask: Any, agent: Any) -> None:
    sharing, endpoints = hub.service.services.sharing, hub.service.services.endpoints
    ada = Principal("ada")
    record = endpoints.resolve(ada, "cluster")

    async def share_all() -> None:
        for number in range(SHARES_LIMIT):
            await sharing.add(ada, record, Share("user", f"u{number}"))

    hub.run(share_all())
    assert ask("POST", SHARES, {"user": "u7"}).status == 200, "that one is there already"
    assert ask("POST", SHARES, {"user": "one more"}).status == 400


def test_scopes_bound_what_a_user_may_do(hub: Any, ask: Any, agent: Any) -> None:
    services, reader = hub.service.services, Principal("ada", scopes=frozenset({READ}))

    async def refused() -> None:
        with pytest.raises(NotAuthorized, match="custom:funcx:submit"):
            await services.tasks.submit(reader, "cluster", "f", "g", [])
        with pytest.raises(NotAuthorized, match="custom:funcx:submit"):
            await services.tasks.cancel(reader, [])

    hub.run(refused())
