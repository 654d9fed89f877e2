"""What each command of ``funcx-endpoint`` does; returns what is to be told."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import Any

from funcx_lab.config import Service, write_private
from funcx_lab.credentials import find_service
from funcx_lab.embedded import running_service
from funcx_lab.errors import FuncxLabError, UsageError
from funcx_lab.transport import Transport
from funcx_lab_endpoint.config import load_config, template
from funcx_lab_endpoint.daemon import Started, start_background, stop_agent
from funcx_lab_endpoint.files import EndpointFiles, Enrolment, all_endpoints, find_endpoint

OK, FAILURE, USAGE, NOT_RUNNING, NO_ENDPOINT, NOT_CONNECTED = 0, 1, 2, 3, 4, 5
_ASK_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of a command: its exit code, words for people and the same as data."""

    code: int
    text: str
    data: dict[str, Any] | list[dict[str, Any]] = field(default_factory=dict)


def configure(
    name: str,
    *,
    url: str | None = None,
    endpoint_id: str | None = None,
    enrolment_token: str | None = None,
    insecure: bool = False,
    register: bool = True,
) -> Answer:
    """Write a config file unless there is one, and register the endpoint.

    Parameters
    ----------
    url : str, optional
        Of the hub service; found as the SDK finds it when left out.
    endpoint_id, enrolment_token : str, optional
        What registering elsewhere gave; without them the user's token is needed here.
    register : bool
        False: only write the file.

    Raises
    ------
    FuncxLabError
        If the name, the file, or the hub service's answer is no good.
    """
    files = EndpointFiles(name)
    if files.runs_now:
        raise UsageError(f"Endpoint {name} runs; stop it first: `funcx-endpoint stop {name}`.")
    files.create()
    is_new = not files.config.exists()
    if is_new:
        write_private(files.config, template(name))
    else:
        load_config(files.config)
    said = f"{'Wrote' if is_new else 'Kept'} {files.config}."
    if not register:
        return Answer(OK, said, {"name": name, "config": str(files.config)})
    enrolment = _register(files, url, endpoint_id, enrolment_token, insecure)
    data = {
        "name": name,
        "config": str(files.config),
        "endpoint_id": enrolment.endpoint_id,
        "url": enrolment.url,
    }
    text = (
        f"{said}\nRegistered at {enrolment.url} as {enrolment.endpoint_id}.\n"
        f"Look at the file, then: funcx-endpoint start {name}"
    )
    return Answer(OK, text, data)


def _register(
    files: EndpointFiles, url: str | None, endpoint_id: str | None, token: str | None, insecure: bool
) -> Enrolment:
    # Making keys needs zmq, which the other commands do without.
    from funcx_lab_endpoint.registration import enrol, register

    if token is None:
        return register(files, find_service(url), insecure=insecure)
    if url is None or endpoint_id is None:
        raise UsageError(
            "--enrol needs --url URL and --id ENDPOINT_ID, which registering gave beside the token."
        )
    return enrol(files, url, endpoint_id, token, insecure=insecure)


def start(name: str, *, takeover: bool, embedded: bool, timeout_s: float) -> Answer:
    """Start an agent in the background.

    Raises
    ------
    FuncxLabError
        If it ended instead of connecting.
    """
    files = EndpointFiles(name) if embedded else find_endpoint(name)
    if files.runs_now:
        return _runs_already(files)
    files.create()
    if files.config.exists():
        load_config(files.config)  # its errors are better told here than from a log
    embedded = embedded or _is_supervised(files)
    try:
        started = start_background(files, takeover=takeover, embedded=embedded, timeout_s=timeout_s)
    except FuncxLabError:
        if files.pid() is not None:  # somebody was faster, the local hub service for instance
            return _runs_already(files)
        raise
    return _started(files, started)


def _runs_already(files: EndpointFiles) -> Answer:
    pid = files.pid()
    data = {"name": files.name, "pid": pid, "state": files.process().get("state")}
    return Answer(OK, f"Endpoint {files.name} runs already as process {pid}.", data)


def _is_supervised(files: EndpointFiles) -> bool:
    """Whether the local hub service keeps this endpoint running."""
    enrolment = files.enrolment()
    service = running_service() if files.name == "local" and enrolment is not None else None
    return service is not None and enrolment is not None and service.url == enrolment.url


def _started(files: EndpointFiles, started: Started) -> Answer:
    data = {"name": files.name, "pid": started.pid, "state": started.state, "reason": started.reason}
    if started.state == "connected":
        return Answer(OK, f"Endpoint {files.name} runs as process {started.pid} and is connected.", data)
    text = (
        f"Endpoint {files.name} runs as process {started.pid} but is not connected: "
        f"{started.reason.rstrip('.')}.\n"
        f"It keeps trying; see `funcx-endpoint status {files.name}` and {files.log}"
    )
    return Answer(NOT_CONNECTED, text, data)


def stop(name: str, *, timeout_s: float, now: bool = False, drain: bool = False) -> Answer:
    """End an agent.

    Parameters
    ----------
    timeout_s : float
        After so many seconds it is killed.
    now : bool
        Do not let running calls end.
    drain : bool
        Let every accepted task end, however long that takes.

    Raises
    ------
    EndpointNotFound
        If there is no such endpoint.
    """
    files = find_endpoint(name)
    ended = stop_agent(files, timeout_s=timeout_s, now=now, drain=drain)
    data = {"name": files.name, "stopped": ended}
    if files.runs_now:
        return Answer(FAILURE, f"Endpoint {files.name} could not be stopped (process {files.pid()}).", data)
    if not ended:
        return Answer(NOT_RUNNING, f"Endpoint {files.name} does not run.", data)
    text = f"Endpoint {files.name} has stopped."
    if _is_supervised(files):
        text += " The local hub service starts it again; `funcx-lab stop` ends both."
    return Answer(OK, text, data)


def restart(name: str, *, timeout_s: float) -> Answer:
    """Stop an agent if it runs, and start it.

    Raises
    ------
    FuncxLabError
        If it does not start.
    """
    files = find_endpoint(name)
    load_config(files.config)  # before the running one is ended
    stop_agent(files)
    return start(files.name, takeover=False, embedded=False, timeout_s=timeout_s)


def list_endpoints() -> Answer:
    """Tell every endpoint of this machine, without asking a hub service."""
    data = [_local_status(files) for files in all_endpoints()]
    if not data:
        return Answer(OK, "No endpoints here; `funcx-endpoint configure NAME` makes one.", data)
    rows = [("NAME", "STATE", "PID", "ENDPOINT ID", "HUB SERVICE")]
    for each in data:
        row = (
            each["name"],
            each["state"],
            each["pid"] or "-",
            each["endpoint_id"] or "-",
            each["url"] or "-",
        )
        rows.append(tuple(str(cell) for cell in row))  # type: ignore[arg-type]  # five cells in, five out
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return Answer(OK, "\n".join(line.rstrip() for line in lines), data)


def status(name: str) -> Answer:
    """Tell how an endpoint is: what its lock and its agent say, and what the hub service says.

    Raises
    ------
    EndpointNotFound
        If there is no such endpoint.
    """
    files = find_endpoint(name)
    data = _local_status(files)
    data["service"] = _ask_service(files)
    code = {"connected": OK, "stopped": NOT_RUNNING, "unregistered": NOT_RUNNING}.get(
        data["state"], NOT_CONNECTED
    )
    lines = [f"{data['name']}: {data['state']}" + (f" ({data['reason']})" if data["reason"] else "")]
    if data["pid"]:
        lines.append(f"  process      {data['pid']}")
    lines.append(f"  endpoint id  {data['endpoint_id'] or '-'}")
    lines.append(f"  hub service  {data['url'] or '-'}: {_service_text(data['service'])}")
    if data["note"]:
        lines.append(f"  note         {data['note']}")
    lines.append(f"  config       {files.config}")
    lines.append(f"  log          {files.log}")
    return Answer(code, "\n".join(lines), data)


def _local_status(files: EndpointFiles) -> dict[str, Any]:
    enrolment, process, running = files.enrolment(), files.process(), files.runs_now
    state, reason = (str(process.get(key) or "") for key in ("state", "reason"))
    if not running:
        state, reason = ("stopped", "") if enrolment is not None else ("unregistered", "")
    return {
        "name": files.name,
        "endpoint_id": enrolment.endpoint_id if enrolment else None,
        "url": enrolment.url if enrolment else None,
        "state": state or "connecting",
        "reason": reason,
        "pid": process.get("pid") if running else None,
        "since": process.get("since") if running else None,
        "note": str(process.get("note") or ""),
    }


def _ask_service(files: EndpointFiles) -> dict[str, Any]:
    enrolment = files.enrolment()
    if enrolment is None:
        return {"status": "unknown", "reason": "not registered"}
    try:
        transport = Transport(_user_service(enrolment), timeout=_ASK_TIMEOUT_S, attempts=1)
    except FuncxLabError as err:
        return {"status": "unknown", "reason": err.message, "code": err.code}
    try:
        answer = transport.json("GET", f"/v2/endpoints/{enrolment.endpoint_id}/status")
        return answer if isinstance(answer, dict) else {"status": "unknown", "reason": "no status"}
    except FuncxLabError as err:
        return {"status": "unknown", "reason": err.message, "code": err.code}
    finally:
        transport.close()


def _service_text(answer: dict[str, Any]) -> str:
    status, reason = answer.get("status", "unknown"), answer.get("reason")
    return f"{status} ({reason})" if reason else str(status)


def delete(name: str, *, force: bool) -> Answer:
    """Delete an endpoint here and at the hub service.

    Parameters
    ----------
    force : bool
        Delete it here even if the hub service cannot be told.

    Raises
    ------
    FuncxLabError
        If it runs, or the hub service says no.
    """
    files = find_endpoint(name)
    if files.runs_now:
        raise UsageError(f"Endpoint {files.name} runs; stop it first: `funcx-endpoint stop {files.name}`.")
    enrolment = files.enrolment()
    told = False
    if enrolment is not None:
        try:
            _deregister(enrolment)
            told = True
        except FuncxLabError as err:
            if not force:
                raise type(err)(f"{err.message} To delete it only here, add --force.") from err
    shutil.rmtree(files.directory)
    where = "here and at the hub service" if told else "here only"
    return Answer(OK, f"Deleted endpoint {files.name} {where}.", {"name": files.name, "deregistered": told})


def _deregister(enrolment: Enrolment) -> None:
    from funcx_lab_endpoint.registration import deregister

    deregister(enrolment, _user_service(enrolment))


def _user_service(enrolment: Enrolment) -> Service:
    """Return the endpoint's hub service with the user's own token; nothing is started for it."""
    running = running_service()
    if running is not None and running.url == enrolment.url:
        return Service(running.url, running.token)
    return find_service(enrolment.url)
