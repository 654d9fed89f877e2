"""Links of a run that are cut, wholly or in one direction, or broken; in a network namespace of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

#: Links on this machine, and the port of the hub service's that each leads to; `cut` cuts all at once.
LINKS = {"agent's link": "forwarder", "client's link": "http"}
ALL_LINKS = "all links"
#: Directions: the port, and which end of a packet's way it is.
ONE_WAY = {
    "agent to hub": ("forwarder", "dport"),
    "hub to agent": ("forwarder", "sport"),
    "client to hub": ("http", "dport"),
    "hub to client": ("http", "sport"),
}
_INSIDE = "CHAOS_NAMESPACE"
_TABLE = "funcx_lab_chaos"
_DROP = """table inet {table} {{
    chain out {{
        type filter hook output priority 0
        tcp {end} {port} drop
    }}
}}
"""


@contextlib.contextmanager
def cut() -> Iterator[None]:
    """Cut all links of this machine for the time of the block."""
    _set_loopback("down")
    try:
        yield
    finally:
        _set_loopback("up")


@contextlib.contextmanager
def cut_one_way(home: Path, direction: str) -> Iterator[None]:
    """Lose every packet of one direction of `ONE_WAY` for the time of the block."""
    name, end = ONE_WAY[direction]
    rules = _DROP.format(table=_TABLE, end=end, port=_port(home, name))
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
    try:
        yield
    finally:
        subprocess.run(["nft", "delete", "table", "inet", _TABLE], check=True)


def reset(home: Path, link: str) -> None:
    """Break the connections of one of `LINKS`, as a router that forgets them does."""
    # It lists what it breaks, and complains at the end.
    port = str(_port(home, LINKS[link]))
    subprocess.run(["ss", "-K", "dport", "=", port], check=True, capture_output=True)


def _port(home: Path, name: str) -> int:
    return int(json.loads((home / "hub" / "ports.json").read_text())[name])


def _set_loopback(state: str) -> None:
    subprocess.run(["ip", "link", "set", "lo", state], check=True)


def with_network(command: list[str], *namespaces: str) -> list[str]:
    """Return what runs ``command`` in a network namespace of its own, and in these other ones; needs root."""
    up = 'ip link set lo up && exec "$@"'
    return ["unshare", "--net", *namespaces, "sh", "-c", up, "sh", *command]


def in_namespace() -> None:
    """Go on in a network namespace of this run's own, where links can be cut; needs root."""
    if os.environ.get(_INSIDE) is None:
        command = with_network([sys.executable, *sys.orig_argv[1:]])
        os.execvpe(command[0], command, {**os.environ, _INSIDE: "1"})
