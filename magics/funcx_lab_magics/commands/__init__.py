"""The subcommands of ``%funcx``, in the order of its help."""

from __future__ import annotations

from IPython.core.error import UsageError

from funcx_lab_magics.commands import (
    account,
    again,
    attach,
    cite,
    config,
    dashboard,
    endpoints,
    env,
    explain,
    functions,
    sessions,
    tasks,
)
from funcx_lab_magics.commands.command import Command
from funcx_lab_magics.commands.maps import with_maps

_SUBJECTS = (
    endpoints,
    env,
    tasks,
    attach,
    again,
    cite,
    explain,
    functions,
    sessions,
    config,
    account,
    dashboard,
)
#: Every subcommand by its name.
COMMANDS: dict[str, Command] = {
    command.name: with_maps(command) for subject in _SUBJECTS for command in subject.COMMANDS
}


def find_command(name: str) -> Command:
    """Return one subcommand.

    Raises
    ------
    IPython.core.error.UsageError
        If there is none of that name.
    """
    if name not in COMMANDS:
        raise UsageError(f"%funcx: no subcommand {name!r}. There are: {', '.join(COMMANDS)}")
    return COMMANDS[name]


def overview() -> str:
    """Return the help of ``%funcx``: each subcommand and its one line."""
    lines = [f"  %funcx {command.name:<10} {command.description}" for command in COMMANDS.values()]
    return "\n".join(
        ["%funcx SUBCOMMAND: tasks and endpoints from the notebook.", "", *lines, "", "Each has --help."]
    )
