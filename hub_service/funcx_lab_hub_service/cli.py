"""The hub service's command line: serve, and look after its directory."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import funcx_lab
from funcx_lab.config import home
from funcx_lab.errors import ConfigError, FuncxLabError, ServiceStartError
from funcx_lab.launch import keep_private
from funcx_lab_hub_service import maintenance
from funcx_lab_hub_service.app import HubService
from funcx_lab_hub_service.config import ServiceConfig, jupyterhub_settings
from funcx_lab_hub_service.listening import raise_descriptor_limit
from funcx_lab_hub_service.unpickling import refuse_unpickling
from funcx_lab_hub_service.vitals import end_with_threads

logger = logging.getLogger(__name__)

#: How long a stop may take before the process ends anyway, seconds.
STOP_S = 9.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0 done, 1 failed, 2 called wrongly."""
    refuse_unpickling()
    keep_private()
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        config = _config(options)
        code = _COMMANDS[options.command](config, options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `audit | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except FuncxLabError as err:
        return _failed(err, options.ready_fd)
    except OSError as err:
        return _failed(ServiceStartError(f"The hub service cannot start: {err}."), options.ready_fd)


def _serve_command(config: ServiceConfig, options: argparse.Namespace) -> int:
    end_with_threads()
    raise_descriptor_limit()
    return asyncio.run(_serve(config, options.ready_fd))


_COMMANDS: dict[str, Callable[[ServiceConfig, argparse.Namespace], int]] = {
    "serve": _serve_command,
    "token": lambda config, options: asyncio.run(maintenance.token(config, options)),
    "audit": lambda config, options: (
        maintenance.check_audit(config) if options.verify else maintenance.print_audit(config)
    ),
    "backup": lambda config, options: maintenance.make_backup(config, options.target),
    "restore": lambda config, options: maintenance.restore(config, options.backup),
}


def _failed(error: FuncxLabError, ready_fd: int | None) -> int:
    sys.stderr.write(f"funcx-lab hub service: {error.message}\n")
    _ready(ready_fd, {"error": error.as_document()})
    return 1


def _ready(descriptor: int | None, document: object) -> None:
    """Tell whoever started us, once."""
    if descriptor is None:
        return
    try:
        with os.fdopen(descriptor, "w") as pipe:
            pipe.write(json.dumps(document) + "\n")
    except OSError:
        logger.debug("nobody waits on the ready pipe")


async def _serve(config: ServiceConfig, ready_fd: int | None) -> int:
    service = HubService(config)
    stop = asyncio.Event()
    _listen_for_signals(stop)
    try:
        await service.start()
        _ready(ready_fd, {"url": service.url, **({"damage": service.damage} if service.damage else {})})
        logger.info("the hub service listens on %s", service.url)
        await stop.wait()
    finally:
        await _stop(service)
    return 0


async def _stop(service: HubService) -> None:
    """Stop, or leave without: what was answered is on disk."""
    try:
        await asyncio.wait_for(service.stop(), STOP_S)
    except asyncio.TimeoutError:
        logger.error("the hub service did not stop within %s s and leaves now", STOP_S)
        logging.shutdown()
        os._exit(1)


def _listen_for_signals(stop: asyncio.Event) -> None:
    """Stop in good order at the first SIGTERM or SIGINT, at once at the second."""
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)


def _config(options: argparse.Namespace) -> ServiceConfig:
    directory: Path | None = None
    if options.embedded or (options.command != "serve" and options.data is None):
        directory = home()
        data = directory / "hub"
    elif options.data is not None:
        data = options.data.absolute()
    else:
        raise ConfigError("A stand-alone hub service needs --data DIRECTORY; the local one --embedded.")
    hub = {} if options.embedded or options.command != "serve" else jupyterhub_settings(os.environ)
    config = ServiceConfig(
        data=data,
        home=directory,
        host=options.host,
        port=options.port,
        certfile=options.certfile,
        keyfile=options.keyfile,
        public_hosts=tuple(options.public_host),
        jupyterhub_fresh_s=options.jupyterhub_fresh,
        forwarder_host=options.forwarder_host,
        forwarder_bind=options.forwarder_bind,
        forwarder_port=options.forwarder_port,
        user=getpass.getuser(),
        ttl_days=options.ttl_days,
        retention_days=options.retention_days,
        backup_minutes=options.backup_minutes,
        disk_reserve=_reserve(options),
        request_rate=0.0 if options.embedded else options.request_rate,
        request_burst=options.request_burst,
        user_tasks=_limit(options, options.user_tasks),
        user_bytes=_limit(options, options.user_bytes),
        all_tasks=_limit(options, options.all_tasks),
    )
    return replace(config, **hub | {"public_hosts": config.public_hosts + hub.get("public_hosts", ())})


def _limit(options: argparse.Namespace, number: int) -> int | None:
    """Return a quota, None for no limit: 0 says so, and an embedded service has one user and no quotas."""
    return None if options.embedded or not number else int(number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m funcx_lab_hub_service", description="Serve functions, endpoints and tasks."
    )
    parser.add_argument("--version", action="version", version=funcx_lab.__version__)
    parser.add_argument("--embedded", action="store_true", help="the local service of this user")
    parser.add_argument("--data", type=Path, help="directory of database, objects and keys")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; TLS unless loopback")
    parser.add_argument("--port", type=_port, default=0, help="0 takes that of the last start if it is free")
    parser.add_argument("--certfile", type=Path, help="TLS certificate (PEM)")
    parser.add_argument("--keyfile", type=Path, help="TLS key (PEM)")
    parser.add_argument(
        "--public-host", action="append", default=[], help="further Host header to serve, with its port"
    )
    parser.add_argument("--forwarder-host", help="address that agents dial, if it is not --host")
    parser.add_argument("--forwarder-bind", help="address that agents' port listens on, if it is not --host")
    parser.add_argument("--forwarder-port", type=_port, default=0)
    parser.add_argument(
        "--jupyterhub-fresh",
        type=_positive,
        default=5.0,
        metavar="SECONDS",
        help="as a service of JupyterHub: ask it for a token again after so long",
    )
    _add_limits(parser)
    _add_upkeep(parser)
    parser.add_argument("--ready-fd", type=int, help="descriptor for one line of JSON once it listens")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    parser.set_defaults(command="serve")
    commands = parser.add_subparsers(title="commands")
    token = commands.add_parser("token", help="tokens of a stand-alone server")
    token.set_defaults(command="token")
    actions = token.add_subparsers(dest="action", required=True)
    create = actions.add_parser("create", help="make a token and print it; it is not shown again")
    create.add_argument("user")
    create.add_argument("--label", default="")
    actions.add_parser("list", help="all tokens, without their secret")
    revoke = actions.add_parser("revoke", help="stop a token")
    revoke.add_argument("token_id", type=int)
    log = commands.add_parser("audit", help="print who did what, or check that nobody has changed it")
    log.set_defaults(command="audit")
    log.add_argument("--verify", action="store_true", help="check the chain of hashes; 1 if it is broken")
    copy = commands.add_parser("backup", help="copy the database while the service runs")
    copy.set_defaults(command="backup")
    copy.add_argument("target", type=Path)
    back = commands.add_parser("restore", help="put a backup in the database's place; stop the service first")
    back.set_defaults(command="restore")
    back.add_argument("backup", type=Path)
    return parser


def _add_limits(parser: argparse.ArgumentParser) -> None:
    """Add what keeps one user from filling a group's server; an embedded service has no such limits."""
    limits = parser.add_argument_group("limits of a group's server (0 for none)")
    limits.add_argument(
        "--request-rate", type=_amount, default=50, help="REST requests a second of one user, in the long run"
    )
    limits.add_argument("--request-burst", type=_amount, default=200, help="and at once after a pause")
    limits.add_argument("--user-tasks", type=_amount, default=100_000, help="open tasks of one user")
    limits.add_argument(
        "--user-bytes",
        type=_amount,
        default=1_000_000_000,
        help="bytes of the arguments of one user's open tasks",
    )
    limits.add_argument("--all-tasks", type=_amount, default=2_000_000, help="open tasks of all users")


def _amount(text: str) -> int:
    amount = int(text)
    if amount < 0:
        raise argparse.ArgumentTypeError("a limit is 0 or more")
    return amount


def _reserve(options: argparse.Namespace) -> int:
    megabytes = options.disk_reserve
    if megabytes is None:
        megabytes = 16 if options.embedded else 64
    return int(megabytes * 1024 * 1024)


def _add_upkeep(parser: argparse.ArgumentParser) -> None:
    upkeep = parser.add_argument_group("how long things are kept")
    upkeep.add_argument("--ttl-days", type=_positive, default=14.0, help="a task that has not ended expires")
    upkeep.add_argument(
        "--retention-days", type=_positive, default=30.0, help="an ended task is purged; its id stays used"
    )
    upkeep.add_argument(
        "--backup-minutes", type=_number, default=15.0, help="between two backups of the database; 0 for none"
    )
    upkeep.add_argument(
        "--disk-reserve",
        type=_number,
        metavar="MB",
        help="kept for results on a full disk; 64, or 16 with --embedded",
    )


def _number(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError("a number that is 0 or more")
    return number


def _positive(text: str) -> float:
    number = _number(text)
    if not number:
        raise argparse.ArgumentTypeError("a number above 0")
    return number


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return port
