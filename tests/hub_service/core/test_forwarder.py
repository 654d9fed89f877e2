"""The forwarder over real sockets, against an agent that says what the test wants."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

import pytest
import zmq

from funcx_lab.errors import ConfigError, ServiceStartError
from funcx_lab.protocol import PROTOCOL_VERSION
from funcx_lab.protocol.messages import (
    Accepted,
    Cancel,
    Event,
    EventBatch,
    Events,
    EventsAck,
    Heartbeat,
    Hello,
    Lost,
    Outcome,
    Refused,
    ResultAck,
    ResultItem,
    Results,
    Stale,
    Started,
    TaskOptions,
    Tasks,
    UnknownTasks,
)
from funcx_lab.protocol.states import TaskState
from funcx_lab.protocol.stream import NewTask
from funcx_lab_hub_service.auth.principals import Principal

ME = Principal("me")


def test_a_task_goes_out_and_its_result_comes_back(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, forwarder), tools.enrolled(core, forwarder) as agent:
            await agent.join()
            task_id = await core.submit_one(b"in")
            message = await agent.receive(Tasks)
            assert [function.body for function in message.functions] == [b"body"]
            (task,) = message.tasks
            assert (task.task_id, task.payload) == (task_id, b"in")
            agent.send(Accepted(agent.session, [(task.task_id, task.tag)]))
            agent.answer(task, b"out", "run-1")
            assert (await agent.receive(ResultAck)).results == [(task_id, "run-1")]
            outcome = core.tasks.outcome(ME, task_id)
            assert (outcome.state, outcome.payload, outcome.owned) == ("success", b"out", True)

    tools.run(main())


def test_a_function_travels_once_a_session(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, forwarder), tools.enrolled(core, forwarder) as agent:
            await agent.join()
            sent = []
            for _ in range(2):
                await core.submit_one()
                sent.append(len((await agent.receive(Tasks)).functions))
            await agent.join(instance="one")
            sent.append(len((await agent.receive(Tasks)).functions))
            assert sent == [1, 0, 1]

    tools.run(main())


def test_queued_tasks_leave_in_order_when_the_agent_comes(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, forwarder), tools.enrolled(core, forwarder) as agent:
            task_ids = [await core.submit_one() for _ in range(3)]
            assert core.tasks.record(ME, task_ids[0]).reason == "endpoint has never connected"
            await agent.join()
            assert [task.task_id for task in await agent.tasks()] == task_ids

    tools.run(main())


def test_credit_bounds_what_is_in_flight(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, forwarder), tools.enrolled(core, forwarder) as agent:
            await agent.join()
            agent.send(Heartbeat(agent.session, {"credit": 2}))
            await tools.until(lambda: core.endpoints.condition(core.endpoint_id).details == {"credit": 2})
            await core.submit(*(NewTask(tools.new_id()) for _ in range(5)))
            first = await agent.tasks()
            assert len(first) == 2
            assert await agent.silence(0.1)
            agent.answer(first[0])
            assert len(await agent.tasks()) == 1

    tools.run(main())


def test_large_tasks_are_split_below_the_frame_limit(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, forwarder), tools.enrolled(core, forwarder) as agent:
            await core.submit(*(NewTask(tools.new_id(), bytes(3_000_000)) for _ in range(3)))
            await agent.join()
            assert [len(await agent.tasks()) for _ in range(3)] == [1, 1, 1]

    tools.run(main())


def test_the_same_result_twice_is_acknowledged_twice_and_shown_once(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, forwarder), tools.enrolled(core, forwarder) as agent:
            shown: list[Any] = []
            core.feed.group("me", core.group_id, shown.extend)
            await agent.join()
            await core.submit_one()
            (task,) = await agent.tasks()
            for payload in (b"first", b"second"):
                agent.answer(task, payload, "run")
                assert (await agent.receive(ResultAck)).results == [(task.task_id, "run")]
            assert [item.payload for item in shown] == [b"first"]

    tools.run(main())


def test_a_result_nobody_knows_stays_with_the_agent(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, forwarder), tools.enrolled(core, forwarder) as agent:
            await agent.join()
            stray = tools.new_id()
            agent.send(Results(agent.session, [ResultItem(stray, 7, "run", Outcome(True))]))
            assert (await agent.receive(UnknownTasks)).tasks == [(stray, 7)]

    tools.run(main())


def test_a_lease_survives_a_reconnect_only_under_its_own_tag(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, forwarder), tools.enrolled(core, forwarder) as agent:
            await agent.join()
            await core.submit(*(NewTask(tools.new_id()) for _ in range(2)))
            kept, lost = await agent.tasks()
            await agent.join((kept.task_id, kept.tag))
            (again,) = await agent.tasks()
            assert again.task_id == lost.task_id
            assert again.tag > lost.tag
            agent.answer(kept)
            assert (await agent.receive(ResultAck)).results[0][0] == kept.task_id

    tools.run(main())


def test_unaccepted_tasks_and_stale_sessions_after_a_restart_of_the_service(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, forwarder), tools.enrolled(core, forwarder) as agent:
            await agent.join()
            await core.submit_one()
            (task,) = await agent.tasks()
            keys, session, port = (agent.public_key, agent.secret_key), agent.session, forwarder.port
        async with tools.forwarding(last_port=port) as (core, forwarder):
            assert forwarder.port == port
            agent = tools.agent(forwarder.address, forwarder.public_key, keys).dial()
            try:
                agent.send(Heartbeat(session, {}))
                assert (await agent.receive(Stale)).session == session
                verdict = await agent.join((task.task_id, task.tag))
                assert (verdict.unknown, verdict.drop) == ([], [])
                agent.answer(task)
                assert (await agent.receive(ResultAck)).results[0][0] == task.task_id
            finally:
                agent.close()

    tools.run(main())


def test_output_is_stored_once_and_followed_live(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, forwarder), tools.enrolled(core, forwarder) as agent:
            await agent.join()
            task_id = await core.submit_one()
            (task,) = await agent.tasks()
            heard: list[Any] = []
            core.feed.events(task_id, lambda events, last: heard.extend([*events, last]))
            agent.send(Started(agent.session, [(task_id, task.tag, "run", 1.0, {"host": "h"})]))
            batch = EventBatch(task_id, "run", 0, [Event(2.0, "stdout", "a"), Event(3.0, "stdout", "b")])
            for _ in range(2):  # the first acknowledgement is lost
                agent.send(Events(agent.session, [batch]))
                assert (await agent.receive(EventsAck)).batches == [(task_id, "run", 2)]
            assert core.tasks.record(ME, task_id).state is TaskState.RUNNING
            riding = EventBatch(task_id, "run", 1, [Event(3.0, "stdout", "b"), Event(4.0, "stderr", "c")])
            agent.send(Results(agent.session, [ResultItem(task_id, task.tag, "run", Outcome(True), riding)]))
            await agent.receive(ResultAck)
            log = core.tasks.events_after(ME, task_id, 0)
            kinds = ["state", "state", "stdout", "stdout", "stderr", "state"]
            assert [event.kind for _, event in log] == kinds
            assert [seq for seq, _ in log] == [1, 2, 3, 4, 5, 6]
            assert [entry for entry in heard if isinstance(entry, tuple)] == log[1:]
            assert heard[-1] is True
            assert core.tasks.events_after(ME, task_id, 5) == log[5:]

    tools.run(main())


def test_the_third_lost_run_ends_the_task(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, forwarder), tools.enrolled(core, forwarder) as agent:
            await agent.join()
            task_id = await core.submit_one()
            for run in range(3):
                (task,) = await agent.tasks()
                for _ in range(2):  # said twice, counted once
                    agent.send(Lost(agent.session, [(task_id, task.tag, f"run-{run}", "killed by signal 9")]))
                    assert (await agent.receive(ResultAck)).results == [(task_id, f"run-{run}")]
            record = core.tasks.record(ME, task_id)
            assert (record.state, record.error.code, record.attempts) == (
                TaskState.FAILED,
                "TASK_POISONED",
                3,
            )
            assert "killed by signal 9" in record.reason

    tools.run(main())


def test_cancelling_tells_the_agent_the_lease(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, forwarder), tools.enrolled(core, forwarder) as agent:
            await agent.join()
            task_id = await core.submit_one()
            (task,) = await agent.tasks()
            assert await core.tasks.cancel(ME, [task_id]) == [task_id]
            assert (await agent.receive(Cancel)).tasks == [(task_id, task.tag)]
            agent.answer(task)
            await agent.receive(ResultAck)
            assert core.tasks.record(ME, task_id).state is TaskState.CANCELLED

    tools.run(main())


@pytest.mark.parametrize("options", [TaskOptions(at_most_once=True), TaskOptions(session="warm")])
def test_what_may_run_once_or_in_its_order_is_leased_on_disk_before_it_leaves(
    tools: Any, options: TaskOptions
) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, forwarder), tools.enrolled(core, forwarder) as agent:
            await agent.join()
            task_id = await core.submit_one(options=options)
            (task,) = await agent.tasks()
            assert core.tasks.record(ME, task_id).tag == task.tag
            assert task.options == options

    tools.run(main())


# --- bad input --------------------------------------------------------------------------------------


def test_an_unknown_key_is_not_let_in(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (_, forwarder):
            agent = tools.agent(forwarder.address, forwarder.public_key).dial()
            try:
                agent.send(Heartbeat(1, {}))
                assert await agent.silence(0.3)
            finally:
                agent.close()

    tools.run(main())


def test_a_deleted_endpoint_is_cut_off(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, forwarder), tools.enrolled(core, forwarder) as agent:
            monitor = agent.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
            await agent.join()
            await core.endpoints.delete(ME, "box")
            assert (await agent.receive(Stale)).session == agent.session
            agent.send(Hello(PROTOCOL_VERSION, "again", "one", "spool"))
            refused = await agent.receive(Refused)
            assert (refused.nonce, refused.code) == ("again", "REVOKED")
            assert await asyncio.to_thread(monitor.poll, 5000)
            agent.socket.disable_monitor()
            monitor.close(0)
            agent.send(Heartbeat(agent.session, {}))
            assert await agent.silence(0.2)

    tools.run(main())


def test_another_enrolment_ends_the_old_key(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, forwarder), tools.enrolled(core, forwarder) as old:
            await old.join()
            async with tools.enrolled(core, forwarder) as new:
                old.send(Heartbeat(old.session, {}))
                assert (await old.receive(Refused)).code == "REVOKED"
                await new.hello("two", takeover=True)

    tools.run(main())


def test_garbage_frames_are_counted_and_harm_nobody(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, forwarder), tools.enrolled(core, forwarder) as agent:
            await agent.join()
            whole = b"\x82\xa4type\xa5Hello"
            for frame in (b"", b"\xff" * 100, whole, os.urandom(1000), b"\x81\xa4type\xa4Nope"):
                agent.socket.send(frame)
            agent.socket.send_multipart([b"one", b"too many"])
            await core.submit_one()
            assert len(await agent.tasks()) == 1
            await tools.until(lambda: forwarder.malformed == 6)

    tools.run(main())


def test_raw_garbage_on_the_port_harms_nobody(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, forwarder), tools.enrolled(core, forwarder) as agent:
            for data in (
                b"GET / HTTP/1.1\r\n\r\n",
                b"\xff" + bytes(8) + b"\x7f\x03\x00NULL",
                os.urandom(500),
            ):
                with socket.create_connection(("127.0.0.1", forwarder.port)) as connection:
                    connection.sendall(data)
            await agent.join()

    tools.run(main())


def test_another_live_agent_of_the_endpoint_is_busy(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, forwarder), tools.enrolled(core, forwarder) as agent:
            await agent.join(instance="one")
            twin = tools.agent(forwarder.address, forwarder.public_key, (agent.public_key, agent.secret_key))
            twin.dial()
            try:
                twin.send(Hello(PROTOCOL_VERSION, "n", "two", "spool"))
                refused = await twin.receive(Refused)
                assert (refused.nonce, refused.code) == ("n", "ENDPOINT_BUSY")
            finally:
                twin.close()

    tools.run(main())


def test_a_taken_port_is_said(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, forwarder):
            second = core.forwarder(port=forwarder.port)
            with pytest.raises(ServiceStartError, match=str(forwarder.port)):
                await second.start()
            await second.stop()

    tools.run(main())


def test_a_key_that_others_can_read_is_refused(tools: Any) -> None:
    async def main() -> None:
        async with tools.forwarding() as (core, _):
            key = core.directory / "forwarder.key"
            assert key.stat().st_mode & 0o777 == 0o600
            key.chmod(0o644)
            with pytest.raises(ConfigError, match=r"forwarder\.key"):
                core.forwarder()

    tools.run(main())
