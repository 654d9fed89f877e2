"""Places at which a test may end the process, as a power switch would.

Set ``FUNCX_LAB_CRASH_AT`` to ``NAME`` or ``NAME:N`` and the process ends with status 77 when it comes to
that place for the ``N``-th time (the first by default). With ``NAME:N:FILE`` it happens once only: FILE is
made then, and a process that finds it there does not crash. Anyone who can set it could as well kill the
process.
"""

from __future__ import annotations

import os
from pathlib import Path

#: Every place, and what has just happened there.
CRASH_POINTS: dict[str, str] = {
    "hub.migrating": "a migration has changed the tables, and is not committed",
    "hub.migrated": "the database has its shape, and this boot is not counted yet",
    "hub.listening": "the service listens, and nobody can know where",
    "hub.dispatched": "tasks have left for the endpoint, and their insert is not committed",
    "hub.before_commit": "a group of writes is done, and not committed",
    "hub.after_commit": "a group of writes is committed, and nobody was told",
    "hub.leased": "queued tasks are leased, and have not left for the endpoint",
    "hub.judged": "outcomes are committed, and neither client nor endpoint knows",
    "hub.published": "outcomes are on their way to the client, and not acknowledged to the endpoint",
    "hub.before_acks": "acknowledgements have gathered for the endpoint, and none has left",
    "hub.reconciling": "leases were compared with what the endpoint holds, and nothing is committed",
    "hub.reconciled": "the comparison is committed, and the endpoint does not know",
    "hub.purging": "tombstones of old tasks are written, the tasks are not deleted, nothing is committed",
    "agent.welcome_came": "a session is granted, and the agent has not taken note",
    "agent.inventory_left": "the agent has told what it holds",
    "agent.reconciled_came": "the hub service has compared, and the agent has not taken note",
    "agent.tasks_came": "tasks have arrived, and the agent has not taken note",
    "agent.accepted_left": "tasks are accepted, in memory",
    "agent.before_calls": "tasks are accepted, and the engine does not know them",
    "agent.after_calls": "the engine has the calls",
    "agent.before_spool_commit": "changes are written to the spool, and not committed",
    "agent.after_spool_commit": "changes are on disk, and the agent's loop does not know",
    "agent.outcome_came": "a call has ended, and the agent has not taken note",
    "agent.results_left": "outcomes are on their way to the hub service",
    "agent.ack_came": "the hub service has the outcomes, and the agent has not taken note",
}

STATUS = 77
_name, _count, _file = (os.environ.get("FUNCX_LAB_CRASH_AT", "") + "::").split(":")[:3]
_left = int(_count) if _count.isdigit() else 1


def crash_point(name: str) -> None:
    """End the process here if that was asked for."""
    if _name == name:
        _pass()


def _pass() -> None:
    global _left
    _left -= 1
    if _left > 0 or (_file and Path(_file).exists()):
        return
    if _file:
        Path(_file).touch()
    os._exit(STATUS)
