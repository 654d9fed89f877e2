"""What a client can ask: results, tasks, endpoints."""

from __future__ import annotations

import concurrent.futures
import fnmatch
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from funcx_lab.connection import Connection
from funcx_lab.environments.book import ask, read_document
from funcx_lab.environments.check import check_function
from funcx_lab.errors import ResultTimeout, TaskNotFound, TaskPending, UsageError
from funcx_lab.futures import TaskFuture
from funcx_lab.protocol.environment import Environment
from funcx_lab.protocol.states import TaskState
from funcx_lab.protocol.stream import OutcomeItem
from funcx_lab.record_lists import EndpointList, FunctionList, TaskList

#: Tasks in one page of the service's list.
_PAGE = 1000


class Queries:
    """The questions of a `FuncXClient`.

    Attributes
    ----------
    connection : Connection
        To the hub service that is asked.
    """

    connection: Connection

    # --- tasks ------------------------------------------------------------------------------------

    def get_result(self, task_id: str, timeout: float | None = None) -> Any:
        """Return a task's value.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait for the task to end; ``math.inf`` for ever. Left out: do not wait.

        Raises
        ------
        TaskPending
            If there is no ``timeout`` and the task has not ended.
        ResultTimeout
            If it has not ended within ``timeout`` (a `TaskPending` and a `TimeoutError`); it goes on.
        TaskNotFound
            If there is no such task.
        Exception
            What the function raised, or a `TaskError`.
        """
        if timeout is None:
            value, error = self.connection.open(self._outcome(task_id))
            if error is not None:
                raise error
            return value
        future = self.connection.watch(task_id)
        try:
            return future.result(None if timeout == math.inf else timeout)
        except concurrent.futures.TimeoutError:
            if future.done():  # the function itself raised it
                raise
            self.connection.stream.unwatch(task_id, future)
            raise ResultTimeout(
                f"Task {task_id} has not ended within {timeout:g} s; it goes on. Ask again later."
            ) from None

    def _outcome(self, task_id: str) -> OutcomeItem:
        try:
            return self.connection.outcome(task_id)
        except TaskPending as err:
            raise TaskPending(f"{err.message} get_result(..., timeout=60) waits so long for it.") from None

    def get_task(self, task_id: str) -> dict[str, Any]:
        """Return what is known of a task: its record, and when it has ended its result or exception.

        Returns
        -------
        dict
            The service's record, and ``pending``, ``status``, and if ended ``completion_t`` (Unix
            seconds) and either ``result`` or ``exception`` (an exception object).

        Raises
        ------
        TaskNotFound
            If there is no such task.
        """
        record = self.connection.record(task_id)
        if not TaskState(record["state"]).is_final:
            return {**record, "pending": True, "status": record["state"]}
        return record | self._ended(task_id)

    def get_batch_result(self, task_id_list: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return ``{task_id: task}`` for all of the tasks: pending, ended and failed ones alike.

        Returns
        -------
        dict
            For each id ``pending``, ``status`` and if ended ``completion_t`` and ``result`` or
            ``exception``. An id that the service does not know has status ``failed`` and the exception
            `TaskNotFound`.
        """
        results = {}
        for task_id in task_id_list:
            try:
                results[task_id] = self._ended(task_id)
            except TaskPending:
                results[task_id] = {"pending": True, "status": self.connection.state(task_id).value}
            except TaskNotFound as err:
                results[task_id] = {"pending": False, "status": TaskState.FAILED.value, "exception": err}
        return results

    get_batch_status = get_batch_result

    def get_tasks(
        self,
        *,
        state: str | Sequence[str] | None = None,
        endpoint: str | None = None,
        group: str | None = None,
        label: str | None = None,
        since: float | datetime | None = None,
        limit: int = 100,
        before: int | None = None,
    ) -> TaskList:
        """Return the records of the user's tasks, newest first; filters may be combined.

        Parameters
        ----------
        state : str or sequence of str, optional
            One state or several, ``"running"`` or ``["failed", "expired"]`` for instance.
        endpoint : str, optional
            Name or id.
        group : str, optional
            A ``task_group_id``.
        label : str, optional
            The whole label.
        since : float or datetime, optional
            Only tasks that the service got at this time (a number: Unix seconds) or later.
        limit : int
            How many at most.
        before : int, optional
            Where an earlier page ended.

        Raises
        ------
        InvalidRequest, EndpointNotFound
            If there is no such state or endpoint.
        UsageError
            If ``since`` is something else.
        """
        states = state if state is None or isinstance(state, str) else ",".join(map(str, state))
        begin = _seconds(since)
        query: dict[str, Any] = {"state": states, "endpoint": endpoint, "group": group, "before": before}
        found = TaskList()
        while True:
            # Labels are compared here, so a page may have to be larger than what is wanted of it.
            query["limit"] = _PAGE if label is not None else max(1, min(limit - len(found), _PAGE))
            page = self.connection.transport.json("GET", "/v3/tasks", query=query)
            recent = [record for record in page["tasks"] if record["received"] >= begin]
            found += [record for record in recent if label is None or record["label"] == label]
            if len(found) >= limit or len(recent) < len(page["tasks"]) or not page.get("next"):
                return TaskList(found[:limit])
            query["before"] = page["next"]

    def get_futures(self, **filters: Any) -> list[TaskFuture[Any]]:
        """Return futures of the user's tasks, newest first, also of those of a kernel that is gone.

        Parameters
        ----------
        **filters
            Those of `get_tasks`.

        Raises
        ------
        InvalidRequest, EndpointNotFound
            As `get_tasks`.
        """
        self.connection.hand_over()
        return [self.connection.watch(record["task_id"]) for record in self.get_tasks(**filters)]

    # --- functions --------------------------------------------------------------------------------

    def get_functions(self, pattern: str | None = None) -> FunctionList:
        """Return the user's registered functions, newest first.

        Parameters
        ----------
        pattern : str, optional
            Only those whose name has this in it or, with ``*``, ``?`` or ``[``, is like this: ``fit*``.
        """
        found = self.connection.transport.json("GET", "/v3/functions")["functions"]
        if pattern and not any(sign in pattern for sign in "*?["):
            pattern = f"*{pattern}*"
        return FunctionList(
            each for each in found if not pattern or fnmatch.fnmatchcase(each["function_name"], pattern)
        )

    # --- endpoints --------------------------------------------------------------------------------

    def register_endpoint(
        self,
        name: str,
        endpoint_uuid: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        endpoint_version: str | None = None,
    ) -> dict[str, Any]:
        """Register an endpoint; ``funcx-endpoint start`` does this and starts the agent.

        Returns
        -------
        dict
            ``endpoint_id`` and the one-time ``enrolment_token``.
        """
        document: dict[str, Any] = {"endpoint_name": name, "metadata": dict(metadata or {})}
        if endpoint_uuid is not None:
            document["endpoint_uuid"] = endpoint_uuid
        if endpoint_version is not None:
            document["metadata"]["endpoint_version"] = endpoint_version
        return dict(self.connection.transport.json("POST", "/v3/endpoints", document))

    def get_endpoints(self) -> EndpointList:
        """Return the user's endpoints: name, endpoint_id, state, reason, since, details."""
        return EndpointList(self.connection.endpoints())

    def get_endpoint_status(self, endpoint: str) -> dict[str, Any]:
        """Return how an endpoint is, by name or id.

        Raises
        ------
        EndpointNotFound
            If there is no such endpoint.
        """
        path = f"/v2/endpoints/{quote(str(endpoint), safe='')}/status"
        return dict(self.connection.transport.json("GET", path))

    def get_environment(self, endpoint: str) -> Environment | None:
        """Return what an endpoint's workers have, by name or id: Python, packages, accelerators, limits.

        Returns
        -------
        Environment or None
            As it was reported last, by the agent until a worker has (``source``); None if it never was.

        Raises
        ------
        EndpointNotFound
            If there is no such endpoint.
        """
        return read_document(ask(self.connection.transport, str(endpoint))).environment

    def check(self, function: Callable[..., Any], endpoint: str | None = None) -> None:
        """Do nothing if a function can run at an endpoint, or if that cannot be known now.

        Raises
        ------
        EnvMismatch
            If the endpoint lacks what the function imports.
        CannotSerialize
            If the function cannot be sent.
        """
        check_function(self.connection.environments, self.connection.endpoint(endpoint), function)

    def _ended(self, task_id: str) -> dict[str, Any]:
        item = self.connection.outcome(task_id)
        value, error = self.connection.open(item)
        ended = {"result": value} if error is None else {"exception": error}
        return {"pending": False, "status": item.state, "completion_t": item.times[2], **ended}


def _seconds(since: object) -> float:
    """Return Unix seconds."""
    if since is None:
        return 0.0
    if isinstance(since, datetime):
        return since.timestamp()
    if isinstance(since, bool) or not isinstance(since, int | float):
        raise UsageError(
            f"since must be Unix seconds, such as time.time() - 3600, or a datetime, not {since!r:.80}."
        )
    return float(since)
