"""What must hold while a history goes on, and at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.model.client import Fate, seen_of
from chaos.model.store import OWNER
from funcx_lab.protocol.states import ALLOWED_MOVES

if TYPE_CHECKING:
    from chaos.model.world import World

LOSS_LIMIT = 3


def look(world: World) -> None:
    """See what a person would see, and hold it against what was seen before."""
    for record in world.hub.tasks.records(OWNER):
        before = world.states.get(record.task_id, record.state)
        if record.state != before and record.state not in ALLOWED_MOVES[before]:
            world.truth.flaw("forbidden move", record.task_id, before, record.state)
        world.states[record.task_id] = record.state


def check(world: World) -> None:
    """Judge the end."""
    truth, hub = world.truth, world.hub
    look(world)
    for task_id, entry in world.client.entries.items():
        item = hub.outcome(task_id)
        if not entry.left and not entry.seen:
            truth.flaw("no outcome", task_id, world.states.get(task_id))
        fate = hub.fate(task_id)
        unknown = fate is Fate.UNKNOWN and task_id in truth.acknowledged
        if entry.left and item is None and (unknown or fate is Fate.THERE):
            truth.flaw("no outcome (client left)", task_id, world.states.get(task_id))
        if task_id in truth.dropped and fate is not Fate.UNKNOWN:
            truth.flaw("result dropped before its insert", task_id)
        if item is not None:
            truth.see(task_id, seen_of(item))
            _check_output(world, task_id)
        elif task_id in truth.shown and truth.shown[task_id][0] != "cancelled" and fate is Fate.UNKNOWN:
            truth.flaw("outcome of a task never inserted", task_id)
    for agent in world.agents:
        if agent.open:
            truth.flaw("left in the spool", agent.life, agent.holdings.inventory())
    for error in hub.loop.errors:
        truth.flaw("an error nobody expected", repr(error))


def _check_output(world: World, task_id: str) -> None:
    truth, record = world.truth, world.hub.tasks.record(OWNER, task_id)
    state, payload, code = truth.shown[task_id]
    if state == "success":
        shown = [
            event.data
            for _, event in world.hub.tasks.events_after(OWNER, task_id, 0)
            if event.kind == "stdout"
        ]
        if shown != truth.output.get(payload.decode()):
            truth.flaw("output incomplete or of another run", task_id, shown)
    lost = {row[0] for row in world.disk.connection.execute(_LOSSES, (task_id,))}
    if not lost <= truth.started:
        truth.flaw("a call that did not run was counted as lost", task_id, lost - truth.started)
    if code == "TASK_POISONED" and (record.losses != len(lost) or len(lost) < LOSS_LIMIT):
        truth.flaw("poisoned without three losses", task_id, record.losses, lost)


_LOSSES = "SELECT execution FROM losses WHERE task = (SELECT id FROM tasks WHERE task_id = ?)"
