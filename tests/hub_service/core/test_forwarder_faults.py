"""The forwarder beside strangers, revoked keys, a second agent, and its own mistakes."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest

from funcx_lab.protocol import PROTOCOL_VERSION
from funcx_lab.protocol.messages import (
    Cancel,
    Heartbeat,
    Hello,
    Inventory,
    Outcome,
    Reconciled,
    Refused,
    ResultAck,
    ResultItem,
    Results,
    Stale,
    Tasks,
    UnknownTasks,
    digest_of,
)
from funcx_lab_hub_service.auth.principals import Principal
from funcx_lab_hub_service.auth.tokens import Tokens
from funcx_lab_hub_service.forwarder import forwarder as forwarder_module
from funcx_lab_hub_service.forwarder.dispatch_state import SILENCE_S
from funcx_lab_hub_service.forwarder.doorkeeper import FROM_ONE, GRACE_S

ME = Principal("me")
#: A ZMTP 3.1 greeting that announces CURVE, and a frame header that announces 1 GB behind it.
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01CURVE" + bytes(15) + b"\x00" + bytes(31)
HUGE = b"\x06" + (1 << 30).to_bytes(8, "big")


def twin_of(tools: Any, forwarder: Any, agent: Any) -> Any:
    keys = (agent.public_key, agent.secret_key)
    return tools.agent(forwarder.address, forwarder.public_key, keys).dial()


# --- a second agent ---------------------------------------------------------------------------------


def test_a_refused_agent_delivers_what_it_finished(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, forwarder), tools.enrolled(core, forwarder) as agent:
            await agent.join()
            task_id = await core.submit_one()
            (task,) = await agent.tasks()
            twin = twin_of(tools, forwarder, agent)
            try:
                twin.send(Hello(PROTOCOL_VERSION, "n", "two", "spool"))
                assert (await twin.receive(Refused)).code == "ENDPOINT_BUSY"
                stray = tools.new_id()
                outcome = Outcome(True, b"from the other")
                results = [ResultItem(task_id, 1, "old", outcome), ResultItem(stray, 1, "old", outcome)]
                twin.send(Results(0, results))
                ack = await twin.receive(ResultAck)
                assert (ack.session, ack.results) == (0, [(task_id, "old")])
                unknown = await twin.receive(UnknownTasks)
                assert (unknown.session, unknown.tasks) == (0, [(stray, 1)])
            finally:
                twin.close()
            assert (await agent.receive(Cancel)).tasks == [(task_id, task.tag)]
            assert core.tasks.outcome(ME, task_id).payload == b"from the other"

    tools.run(main())


def test_takeover_ends_the_other_session_at_once(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, forwarder), tools.enrolled(core, forwarder) as agent:
            await agent.join()
            task_id = await core.submit_one()
            (task,) = await agent.tasks()
            twin = twin_of(tools, forwarder, agent)
            try:
                welcome = await twin.hello("two", takeover=True)
                assert (await agent.receive(Stale)).session == agent.session
                twin.send(Inventory(welcome.session, []))
                await twin.receive(Reconciled)
                (again,) = await twin.tasks()
                assert again.task_id == task_id
                assert again.tag > task.tag
                agent.send(Hello(PROTOCOL_VERSION, "back", "one", "spool"))
                assert (await agent.receive(Refused)).code == "ENDPOINT_BUSY"
            finally:
                twin.close()

    tools.run(main())


# --- silence and differing books --------------------------------------------------------------------


def test_silence_makes_it_offline_since_it_was_heard(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, forwarder), tools.enrolled(core, forwarder) as agent:
            await agent.join()
            heard = time.time()
            forwarder.tick(time.monotonic() + SILENCE_S - 1)
            assert core.endpoints.condition(core.endpoint_id).state == "online"
            forwarder.tick(time.monotonic() + SILENCE_S + 0.5)
            condition = core.endpoints.condition(core.endpoint_id)
            assert condition.state == "offline"
            assert condition.reason.startswith("endpoint offline since ")
            assert abs(heard - condition.since - SILENCE_S - 0.5) < 1
            assert SILENCE_S + forwarder_module._TICK_S <= 15

    tools.run(main())


def test_a_service_that_slept_reads_what_waits_before_it_calls_anyone_silent(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, forwarder), tools.enrolled(core, forwarder) as agent:
            await agent.join()
            forwarder._ticked -= 30  # as if the process had been stopped
            forwarder.state(core.endpoint_id).session.heard -= 30
            forwarder._on_timer()
            agent.send(Heartbeat(agent.session, {"n": 1}))
            await tools.until(lambda: core.endpoints.condition(core.endpoint_id).details == {"n": 1})
            forwarder._on_timer()
            assert core.endpoints.condition(core.endpoint_id).state == "online"

    tools.run(main())


def test_a_lease_that_the_agent_has_lost_runs_again(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, forwarder), tools.enrolled(core, forwarder) as agent:
            await agent.join()
            task_id = await core.submit_one()
            (task,) = await agent.tasks()
            for _ in range(2):
                agent.send(Heartbeat(agent.session, {}, digest_of(task.tag, [])))
            assert (await agent.receive(Stale)).session == agent.session
            await agent.join()
            (again,) = await agent.tasks()
            assert again.task_id == task_id

    tools.run(main())


# --- keys that are void -----------------------------------------------------------------------------


async def assert_cut(tools: Any, core: Any, agent: Any, within_s: float = 15) -> None:
    """The agent says nothing more, and yet is told and cut off, and gets no tasks."""
    began = time.monotonic()
    assert (await agent.receive(Stale)).session == agent.session
    agent.send(Hello(PROTOCOL_VERSION, "again", "one", "spool"))
    assert (await agent.receive(Refused)).code == "REVOKED"
    assert time.monotonic() - began < within_s
    await core.submit_one()
    with pytest.raises(AssertionError, match="no Tasks"):
        await agent.receive(Tasks, 0.3)


def test_another_enrolment_cuts_the_silent_old_agent(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, forwarder), tools.enrolled(core, forwarder) as old:
            await old.join()
            async with tools.enrolled(core, forwarder):
                await assert_cut(tools, core, old)
                assert "revoked" in core.endpoints.condition(core.endpoint_id).reason

    tools.run(main())


def test_an_agents_key_ends_with_its_token(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, forwarder), tools.enrolled(core, forwarder) as agent:
            await agent.join()
            core.endpoints.revoke_keys()
            assert core.endpoints.endpoint_for_key(agent.public_key.decode()) == core.endpoint_id
            await Tokens(core.database).revoke_endpoint(core.endpoint_id)
            core.endpoints.revoke_keys()
            await assert_cut(tools, core, agent)

    tools.run(main())


def test_every_connection_of_a_void_key_is_cut(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, forwarder), tools.enrolled(core, forwarder) as agent:
            await agent.join()
            twin = twin_of(tools, forwarder, agent)
            try:
                twin.send(Heartbeat(1, {}))
                await twin.receive(Stale)
                connections = forwarder._socket._connections
                assert len(connections.peers) == 2
                await core.endpoints.delete(ME, "box")
                await tools.until(lambda: not connections.peers and not len(connections._doorkeeper))
            finally:
                twin.close()

    tools.run(main())


# --- strangers --------------------------------------------------------------------------------------


def dial(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    connection.setblocking(False)
    return connection


def is_closed(connection: socket.socket) -> bool:
    try:
        while connection.recv(4096):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def test_half_open_connections_are_few_and_an_agent_comes_through(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, forwarder), tools.enrolled(core, forwarder) as agent:
            await agent.join()
            strangers = [dial(forwarder.port) for _ in range(300)]
            try:
                connections = forwarder._socket._connections
                await tools.until(lambda: connections.excess >= 300 - FROM_ONE)
                assert len(connections._doorkeeper) <= FROM_ONE + 1
                await tools.until(lambda: sum(map(is_closed, strangers)) >= 300 - FROM_ONE)
                began = time.monotonic()
                await core.submit_one()
                agent.answer((await agent.tasks())[0])
                await agent.receive(ResultAck)
                assert time.monotonic() - began < 15
                await asyncio.sleep(GRACE_S)  # from now on who waits gives way
                twin = twin_of(tools, forwarder, agent)
                twin.send(Heartbeat(1, {}))
                await twin.receive(Stale)
                twin.close()
            finally:
                for stranger in strangers:
                    stranger.close()

    tools.run(main())


def test_a_frame_that_announces_a_gigabyte_is_hung_up_on(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (_, forwarder):
            stranger = dial(forwarder.port)
            try:
                stranger.sendall(GREETING + HUGE)
                await tools.until(lambda: is_closed(stranger), 4)  # before the handshake's time is over
            finally:
                stranger.close()

    tools.run(main())


def test_unknown_keys_are_told_to_whoever_keeps_the_audit(tools: Any) -> None:
    async def main() -> None:
        refused: list[str] = []
        async with tools.forwarding(on_refused=refused.append) as (_, forwarder):
            stranger = tools.agent(forwarder.address, forwarder.public_key).dial()
            try:
                await tools.until(lambda: refused[:1] == ["127.0.0.1"])
            finally:
                stranger.close()

    tools.run(main())


# --- mistakes of ours -------------------------------------------------------------------------------


def test_a_mistake_ends_the_session_and_nothing_else(tools: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, forwarder), tools.enrolled(core, forwarder) as agent:
            await agent.join()
            task_id = await core.submit_one()
            (task,) = await agent.tasks()
            with monkeypatch.context() as patch:
                patch.setattr(forwarder, "_online", lambda endpoint, do: 1 / 0)
                agent.send(Heartbeat(agent.session, {}))
                assert (await agent.receive(Stale)).session == agent.session
            await agent.join((task_id, task.tag))
            agent.answer(task)
            assert (await agent.receive(ResultAck)).results[0][0] == task_id

    tools.run(main())


@pytest.mark.parametrize("broken", ["tick", "_refuse"])
def test_a_forwarder_that_cannot_go_on_says_so(
    tools: Any, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    async def main() -> None:
        fatal: list[BaseException] = []
        async with (
            tools.forwarding(on_fatal=fatal.append) as (core, forwarder),
            tools.enrolled(core, forwarder) as agent,
        ):
            await agent.join()
            monkeypatch.setattr(forwarder, broken, lambda *_: 1 / 0)
            core.endpoints._by_key.clear()
            agent.send(Heartbeat(agent.session, {}))
            await tools.until(lambda: fatal and isinstance(fatal[0], ZeroDivisionError))

    tools.run(main())


def test_a_queued_task_says_why_its_endpoint_takes_none(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, forwarder), tools.enrolled(core, forwarder) as agent:
            await agent.join()
            status = {"credit": 0, "waiting_reason": "the spool is full (10 GB)"}
            agent.send(Heartbeat(agent.session, status))
            await tools.until(lambda: core.endpoints.condition(core.endpoint_id).details == status)
            record = core.tasks.record(ME, await core.submit_one())
            assert (record.state, record.reason) == ("waiting-for-ep", "the spool is full (10 GB)")
            assert core.endpoints.status(ME, "box")["reason"] == "the spool is full (10 GB)"

    tools.run(main())


def test_an_endpoint_of_an_earlier_life_says_what_is_known(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, forwarder), tools.enrolled(core, forwarder) as agent:
            await agent.join()
        async with tools.opened() as core:
            reason = core.endpoints.status(ME, "box")["reason"]
            assert reason.startswith("endpoint not connected since the hub service started at ")

    tools.run(main())
