"""The command ``funcx-endpoint``."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence

from funcx_lab.errors import EndpointNotFound, FuncxLabError, UsageError
from funcx_lab_endpoint import commands
from funcx_lab_endpoint.commands import FAILURE, NO_ENDPOINT, OK, USAGE, Answer
from funcx_lab_endpoint.daemon import START_TIMEOUT_S, STOP_TIMEOUT_S, last_lines
from funcx_lab_endpoint.files import EndpointFiles, find_endpoint

_EXIT_CODES = """exit codes:
  0  done, or it is as asked for      3  the endpoint does not run
  1  failed; the message says why     4  there is no such endpoint here
  2  wrong usage, nothing was done    5  it runs but is not connected
"""
_POLL_S = 0.2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        answer: Answer | int = options.run(options)
        if not isinstance(answer, int):
            print(json.dumps(answer.data, indent=2) if options.json else answer.text, flush=True)
    except EndpointNotFound as err:
        return _fail(err, NO_ENDPOINT, options.json)
    except UsageError as err:
        return _fail(err, USAGE, options.json)
    except FuncxLabError as err:
        return _fail(err, FAILURE, options.json)
    except BrokenPipeError:  # `logs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return answer if isinstance(answer, int) else answer.code


def _fail(error: FuncxLabError, code: int, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"error": error.as_document()}, indent=2))
    else:
        print(f"funcx-endpoint: {error.message}", file=sys.stderr)
    return code


# --- the commands' arguments ------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="funcx-endpoint",
        description="Turn this machine into an endpoint: a named place where functions run.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands_ = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(
        name: str, run: Callable[[argparse.Namespace], Answer | int], text: str
    ) -> argparse.ArgumentParser:
        added = commands_.add_parser(name, help=text, description=text)
        added.add_argument("--json", action="store_true", help="answer in JSON")
        added.set_defaults(run=run)
        if name != "list":
            added.add_argument("name", metavar="NAME", help="the endpoint's name or id")
        return added

    _add_configure(command("configure", _configure, "Write the config file and register the endpoint."))
    _add_start(command("start", _start, "Start the endpoint in the background."))
    stop = command("stop", _stop, "Stop it; running calls may end first, the rest runs at the next start.")
    how = stop.add_mutually_exclusive_group()
    how.add_argument("--now", action="store_true", help="do not wait for running calls")
    how.add_argument("--drain", action="store_true", help="wait until every accepted task has ended")
    stop.add_argument("--timeout", type=_seconds, default=STOP_TIMEOUT_S, help="seconds until it is killed")
    restart = command("restart", _restart, "Stop it and start it, after a change of its config file.")
    restart.add_argument("--timeout", type=_seconds, default=START_TIMEOUT_S, help="seconds to wait for it")
    command("list", lambda _: commands.list_endpoints(), "Show the endpoints of this machine.")
    command("status", lambda options: commands.status(options.name), "Show how an endpoint is.")
    logs = command("logs", _logs, "Show the agent's log.")
    logs.add_argument("-n", type=_count, default=50, metavar="LINES", help="how many lines (default 50)")
    logs.add_argument("-f", "--follow", action="store_true", help="go on until interrupted")
    delete = command("delete", _delete, "Delete it here and at the hub service.")
    delete.add_argument("--yes", action="store_true", help="do not ask")
    delete.add_argument("--force", action="store_true", help="also if the hub service cannot be told")
    return parser


def _add_configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", help="the hub service (default: found as the SDK finds it)")
    parser.add_argument("--id", help="with --enrol: the endpoint's id")
    parser.add_argument("--enrol", metavar="TOKEN", help="one-time enrolment token; - reads it from stdin")
    parser.add_argument("--insecure", action="store_true", help="allow plain http to another machine")
    parser.add_argument("--no-register", action="store_true", help="only write the config file")


def _add_start(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--foreground", action="store_true", help="stay; for supervisors such as systemd")
    parser.add_argument("--takeover", action="store_true", help="end the session of another live agent of it")
    parser.add_argument("--embedded", action="store_true", help="serve this user's own local hub service")
    parser.add_argument("--timeout", type=_seconds, default=START_TIMEOUT_S, help="seconds to wait for it")
    parser.add_argument("--ready-fd", type=int, help=argparse.SUPPRESS)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1e6:
        raise argparse.ArgumentTypeError("must be a number of seconds")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return value


# --- from options to commands -----------------------------------------------------------------------


def _configure(options: argparse.Namespace) -> Answer:
    token = sys.stdin.readline().strip() if options.enrol == "-" else options.enrol
    return commands.configure(
        options.name,
        url=options.url,
        endpoint_id=options.id,
        enrolment_token=token,
        insecure=options.insecure,
        register=not options.no_register,
    )


def _start(options: argparse.Namespace) -> Answer | int:
    if not options.foreground:
        return commands.start(
            options.name,
            takeover=options.takeover,
            embedded=options.embedded,
            timeout_s=options.timeout,
        )
    # Only the agent itself needs zmq and the engine.
    from funcx_lab_endpoint.foreground import run_foreground, run_then_exit

    files = EndpointFiles(options.name) if options.embedded else find_endpoint(options.name)
    return run_then_exit(
        lambda: run_foreground(
            files, embedded=options.embedded, takeover=options.takeover, ready_fd=options.ready_fd
        )
    )


def _stop(options: argparse.Namespace) -> Answer:
    return commands.stop(options.name, timeout_s=options.timeout, now=options.now, drain=options.drain)


def _restart(options: argparse.Namespace) -> Answer:
    return commands.restart(options.name, timeout_s=options.timeout)


def _delete(options: argparse.Namespace) -> Answer:
    files = find_endpoint(options.name)
    if not options.yes:
        if not sys.stdin.isatty():
            raise UsageError(f"Deleting {files.name} needs --yes when nobody can be asked.")
        if input(f"Delete endpoint {files.name} and {files.directory}? [y/N] ").lower() not in ("y", "yes"):
            return Answer(FAILURE, "Nothing was deleted.", {"name": files.name, "deregistered": False})
    return commands.delete(options.name, force=options.force)


def _logs(options: argparse.Namespace) -> Answer | int:
    files = find_endpoint(options.name)
    # What is written from now on is the follower's: neither lost nor shown twice.
    position = files.log.stat().st_size if files.log.exists() else 0
    lines = last_lines(files, options.n, position)
    if not options.follow:
        return Answer(OK, lines, {"name": files.name, "log": str(files.log), "lines": lines.splitlines()})
    print(lines, flush=True)
    try:
        while True:
            position = _print_from(files, position)
            time.sleep(_POLL_S)
    except KeyboardInterrupt:
        return OK


def _print_from(files: EndpointFiles, position: int) -> int:
    try:
        with open(files.log, "rb") as file:
            if file.seek(0, 2) < position:  # a new file after rotation
                position = 0
            file.seek(position)
            sys.stdout.write(file.read().decode("utf-8", "replace"))
            sys.stdout.flush()
            return file.tell()
    except FileNotFoundError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
