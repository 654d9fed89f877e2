"""One history: client, hub service, two agents with the same key and their workers, steps in random order."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from chaos.model import faults, standins
from chaos.model.agent import Agent
from chaos.model.client import Client, Fate
from chaos.model.hub import Hub
from chaos.model.loop import Clock
from chaos.model.network import Network
from chaos.model.store import Disk
from chaos.model.truth import Truth
from chaos.model.verdict import check, look

TASKS, STEPS, CALM_SWEEPS = 6, 1000, 600


class World:
    """One history.

    Parameters
    ----------
    seed : int
        The same seed gives the same history.
    disk : Disk
        Used from one history to the next.
    """

    def __init__(self, seed: int, disk: Disk) -> None:
        self.r = random.Random(seed)
        self.seed, self.disk = seed, disk
        self.clock = Clock()
        self.calm, self.progress = False, 0.0
        r = self.r
        #: how soon calls end, how fast the clock is, how often something goes wrong
        self.pace = r.choice((0.6, 0.2, 0.04))
        self._tempo = r.choice((0.002, 0.005, 0.01))
        self._rate = r.choice((0.004, 0.008, 0.016, 0.032))
        #: after this step only the network is bad: what a new session would heal shows
        self._last_fault = STEPS * r.choice((0.3, 0.7, 1.0))
        #: how often a commit, and a write of a spool, takes long
        self._slowness = r.choice((0.05, 0.3, 0.6)), r.choice((0.0, 0.4, 0.8))
        #: how often the hub service's disk has no room
        self.fullness = r.choice((0.0, 0.02, 0.1))
        self.is_full_next = False
        #: until when they do, in steps
        self._stalls: dict[object, float] = {}
        self._step = 0
        #: when the hub service dies, in steps
        self._doom: int | None = None
        self.truth = Truth(r, TASKS, seed)
        self.network = Network(self)
        disk.reset()
        standins.install(self)
        self.hub = Hub(self)
        #: the state of each task that a person saw last
        self.states: dict[str, Any] = {}
        self.client = Client(self)
        self.directories = disk.directories
        self.agents = [Agent(self, 0), Agent(self, 1)]
        self.agents[0].start()

    def restart_hub(self, *, forgetful: bool = False) -> None:
        """Kill the hub service and start it again."""
        self.hub.crash(0 if forgetful else self.r.choice((0, self.r.randint(0, self.hub.database.waiting))))
        self.hub = Hub(self)

    def dispatched(self) -> None:
        """Take note that tasks left for an agent: a good time for a slow commit and a crash."""
        if self.calm or not self.hub.database.waiting:
            return
        self.is_full_next = self.r.random() < 0.35
        if self.r.random() < 0.4:
            stall = self.r.choice((60, 200, 400))
            self._stalls["hub"] = self._step + stall
            if self.r.random() < 0.3:
                self.client.hang_up()  # it comes again, with the same tasks
            if self.r.random() < 0.5:
                self._doom = self._step + self.r.randint(10, stall)

    def acknowledged(self, results: list[tuple[str, str]]) -> None:
        """Take note that an agent may forget results: of a task that is still to come, that is too early."""
        for task_id, execution in results:
            if execution in self.truth.told and self.hub.fate(task_id) is Fate.UNKNOWN:
                self.truth.dropped.add(task_id)

    # --- steps --------------------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        """Live through the history and return its flaws."""
        acts = self._acts()
        for number in range(STEPS):
            self._step, self.progress = number, number / (0.7 * STEPS)
            self.clock.now += self._tempo
            if self._doom is not None and number >= self._doom:
                self._doom = None
                faults.hub_dies_unnoticed(self)
            elif number < self._last_fault and self.r.random() < self._rate:
                faults.strike(self)
            else:
                self.r.choice(acts)()
            if number % 50 == 0:
                look(self)
        if not self.truth.flaws:
            self._calm_down()
        if not self.truth.flaws:
            check(self)
        self.hub.loop.leave()
        return self.truth.flaws

    def _acts(self) -> list[Callable[[], None]]:
        r = self.r
        acts: list[Callable[[], None]] = [self.client.step, self._hear_client, self.client_hears] * 2
        acts += [self._commit] * r.randint(3, 5) + [self._tick, self._age] + [self._network] * r.randint(3, 6)
        for agent, weight in zip(self.agents, (2, 1), strict=True):
            acts += [agent.step, agent.step, agent.work] * weight
            acts += [lambda agent=agent: self._write(agent)]
            acts += [lambda agent=agent: self._one_process(agent)] * (2 * weight)
        return acts

    def _age(self) -> None:
        """Let old submits surface, and retention end once nobody waits for what has ended."""
        if self.r.random() < 0.3:
            self.client.retry_late()
        elif self.r.random() < 0.2:
            self.hub.purge()

    def client_hears(self) -> None:
        """Let the client take a frame."""
        self.client.hear()

    def _hear_client(self) -> None:
        if self.client.pipe is not None:
            self.hub.hear(self.client.pipe)

    def _network(self) -> None:
        self.network.step()

    def _tick(self) -> None:
        self.hub.loop.run()

    def _commit(self) -> None:
        if self._is_quick("hub", self._slowness[0]):
            self.hub.commit()

    def _write(self, agent: Agent) -> None:
        if self._is_quick(agent, self._slowness[1]):
            agent.write()

    def _is_quick(self, who: object, slowness: float) -> bool:
        """Whether a disk does something now: some of its writes take long."""
        if self.calm:
            return True
        if self._step < self._stalls.get(who, 0):
            return False
        if self.r.random() < slowness:
            self._stalls[who] = self._step + self.r.randint(5, 50)
            return False
        return True

    def _one_process(self, agent: Agent) -> None:
        if agent.processes:
            process = self.r.choice(agent.processes)
            for _ in range(self.r.randint(1, 3)):
                process.step()

    # --- the end ------------------------------------------------------------------------------------

    def _calm_down(self) -> None:
        """Faults stop; all goes on until nothing is left to do."""
        self.calm = True
        self.network.cut()
        first, second = self.agents
        chance = self.r.random()
        if chance < 0.15 and second.is_up:
            first.kill()
        elif chance < 0.7 or not second.is_up:
            second.kill()
        if not second.is_up and not first.is_up:
            first.start()
        for _ in range(CALM_SWEEPS):
            self._sweep()
            if self.truth.flaws or self._is_done():
                return

    def _sweep(self) -> None:
        """Let everything have its turn."""
        self.clock.now += 0.3
        self._tick()
        self._age()
        self.client.step()
        for _ in range(3):
            self._hear_client()
            self._commit()
            self.client_hears()
            for agent in self.agents:
                agent.step()
                agent.work()
                agent.write()
                for process in list(agent.processes):
                    process.step()
            for _ in range(min(len(self.network), 40) + 1):
                self.network.step()

    def _is_done(self) -> bool:
        return (
            self.client.is_content
            and not any(agent.open for agent in self.agents)
            and not self.hub.database.waiting
            and self.hub.live == 0
        )
