"""What goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaos.model.agent import Agent
    from chaos.model.world import World


def strike(world: World) -> None:
    """Let one thing go wrong."""
    world.r.choices(_FAULTS, _WEIGHTS)[0](world)


def hub_dies_unnoticed(world: World) -> None:
    """Kill the hub service, with all that it had not committed; agents hear of it when they speak."""
    world.restart_hub(forgetful=True)
    world.network.hub_crashed()


def _hub_dies(world: World) -> None:
    world.restart_hub()
    if world.r.random() < 0.6:
        world.network.cut()
    world.network.hub_crashed()
    for agent in world.agents:
        if world.r.random() < 0.5:
            agent.lose_link()


def _network_is_cut(world: World) -> None:
    world.network.cut()
    for agent in world.agents:
        if world.r.random() < 0.3:
            agent.lose_link()


def _agent_dies(world: World) -> None:
    agent = _either(world, 0.7)
    if world.r.random() < 0.2:
        agent.stop()
    agent.kill()
    _engine_ends_with_agent(world, agent)
    if world.r.random() < (0.85 if agent.number == 0 else 0.5):
        agent.start(takeover=world.r.random() < 0.3)


def _engine_ends_with_agent(world: World, agent: Agent) -> None:
    """Workers end with their agent, some later."""
    for process in agent.processes:
        if world.r.random() < 0.7:
            process.kill()


def _scratch_is_lost(world: World) -> None:
    agent = _either(world, 0.7)
    agent.kill()
    agent.directory.lose()
    agent.start()


def _spool_is_deleted(world: World) -> None:
    agent = _either(world, 0.7)
    if agent.is_up:
        agent.lose_spool()


def _directory_is_copied(world: World) -> None:
    """The agent's directory is copied and started elsewhere."""
    first, second = world.agents
    second.kill()
    second.directory.copy(first.directory)
    second.start(takeover=world.r.random() < 0.3)


def _second_agent_takes_over(world: World) -> None:
    agent = _either(world, 0.5)
    agent.kill()
    agent.start(takeover=True)


def _client_dies(world: World) -> None:
    world.client.hang_up()
    world.client.restart()


def _stream_breaks(world: World) -> None:
    world.client.hang_up()


def _workers_die(world: World) -> None:
    for process in _either(world, 0.8).processes:
        if world.r.random() < 0.5:
            process.kill()


def _engine_dies(world: World) -> None:
    for process in _either(world, 0.8).processes:
        process.kill()


def _workers_are_cut_off(world: World) -> None:
    for process in _either(world, 0.8).processes:
        if world.r.random() < 0.6:
            process.cut()


def _worker_is_wrongly_suspected(world: World) -> None:
    agent = _either(world, 0.8)
    if agent.is_up:
        for sid in agent.engine.sessions.sids:
            if world.r.random() < 0.5:
                agent.engine.lose(sid, "not heard")


def _time_slice_ends(world: World) -> None:
    agent = _either(world, 0.8)
    if agent.is_up:
        for sid in agent.engine.sessions.sids:
            if world.r.random() < 0.3:
                agent.engine.sessions.retire(sid)


def _sessions_are_doubted(world: World) -> None:
    """The agent has not heard them for a while, and asks."""
    agent = _either(world, 0.8)
    if agent.is_up:
        for sid in agent.engine.sessions.sids:
            agent.engine.sessions.ask(sid)
            if world.r.random() < 0.5:
                agent.engine.sessions.doubt(sid)


def _silence(world: World) -> None:
    world.clock.now += world.r.choice((1.0, 3.0, 7.0))


def _either(world: World, first: float) -> Agent:
    return world.agents[0 if world.r.random() < first else 1]


_TABLE: dict[Callable[[World], None], float] = {
    _hub_dies: 22,
    _network_is_cut: 10,
    _agent_dies: 18,
    _scratch_is_lost: 3,
    _spool_is_deleted: 1,
    _directory_is_copied: 4,
    _second_agent_takes_over: 3,
    _client_dies: 5,
    _stream_breaks: 5,
    _workers_die: 10,
    _engine_dies: 3,
    _workers_are_cut_off: 12,
    _worker_is_wrongly_suspected: 10,
    _time_slice_ends: 5,
    _sessions_are_doubted: 5,
    _silence: 5,
}
_FAULTS, _WEIGHTS = list(_TABLE), list(_TABLE.values())
