"""Tasks, batches and task groups the way a Globus Compute client reads them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from funcx_lab.errors import TaskGone, TaskGroupNotFound, TaskNotFound
from funcx_lab.protocol.payload import is_payload
from funcx_lab.protocol.states import TaskState
from funcx_lab_hub_service.auth.principals import READ
from funcx_lab_hub_service.handlers.base import Handler

if TYPE_CHECKING:
    from funcx_lab.protocol.stream import OutcomeItem
    from funcx_lab_hub_service.store.records import TaskRecord

_PAGE = 1000


class BatchStatusRequest(msgspec.Struct):
    """Which tasks to report."""

    task_ids: list[str]


class GlobusTasks(Handler):
    """What the routes below share."""

    async def document(self, task_id: str) -> dict[str, Any]:
        """Return a task as that client reads it; a final one has either result or exception.

        Raises
        ------
        TaskNotFound
            If there is none, or it is someone else's.
        """
        record = self.services.tasks.record(self.principal, task_id)
        outcome = self.services.tasks.outcome(self.principal, task_id) if record.state.is_final else None
        if outcome is None:
            return {"task_id": task_id, "status": record.state.value, "reason": record.reason}
        document: dict[str, Any] = {
            "task_id": task_id,
            "completion_t": str(record.ended),
            "details": _details(record),
        }
        result = await self._result_text(outcome)
        if result is not None:
            return document | {"status": "success", "result": result}
        return document | {"status": "failed", "exception": _exception(record, outcome)}

    async def _result_text(self, outcome: OutcomeItem) -> str | None:
        """Return the result if there is one in that client's packing."""
        if outcome.state != TaskState.SUCCESS:
            return None
        block = outcome.payload
        if outcome.object is not None:
            path, size = self.services.objects.find(self.principal, outcome.object.sha256)
            block = await asyncio.to_thread(_read_limited, path, size, self.services.config.body_limit)
        if not block or is_payload(block):
            return None
        try:
            return block.decode()
        except UnicodeDecodeError:
            return None


def _read_limited(path: Path, size: int, limit: int) -> bytes:
    return path.read_bytes() if size <= limit else b""


def _details(record: TaskRecord) -> dict[str, Any]:
    """Say where it ran; the client compares the Python versions."""
    worker = record.worker or {}
    details = {"endpoint_id": record.endpoint_id, **worker}
    if "python" in worker:
        details["python_version"] = worker["python"]
    return details


def _exception(record: TaskRecord, outcome: OutcomeItem) -> str:
    """Return the text that the client raises."""
    if outcome.state == TaskState.SUCCESS:
        return (
            f"Task {record.task_id} succeeded, but its result is not in Globus Compute's packing or is over "
            "the limit of that client; fetch it with funcx_lab.FuncXClient().get_result(task_id)."
        )
    error = outcome.error
    if error is None:
        return f"The task is {outcome.state}: {record.reason or 'no reason was given'}"
    return error.traceback or f"{error.type or error.code}: {error.message}"


class GlobusTaskHandler(GlobusTasks):
    """One task."""

    async def get(self, task_id: str) -> None:
        """Answer the task."""
        self.answer(await self.document(task_id))


class BatchStatusHandler(GlobusTasks):
    """Many tasks at once."""

    write_scope = READ  # it only looks

    async def post(self) -> None:
        """Answer each task; one that is not there is told as failed, the others still come."""
        request = self.body(BatchStatusRequest)
        self.answer({"results": {task_id: await self._entry(task_id) for task_id in request.task_ids}})

    async def _entry(self, task_id: str) -> dict[str, Any]:
        try:
            return await self.document(task_id)
        except (TaskNotFound, TaskGone) as err:
            return {"task_id": task_id, "status": "failed", "exception": err.message, "reason": err.message}


class TaskGroupHandler(GlobusTasks):
    """The tasks of one group."""

    async def get(self, group_id: str) -> None:
        """Answer the ids of all tasks of the group."""
        task_ids: list[str] = []
        before: int | None = None
        while True:
            page = self.services.tasks.records(self.principal, group_id=group_id, limit=_PAGE, before=before)
            task_ids += [record.task_id for record in page]
            if len(page) < _PAGE:
                break
            before = page[-1].key
            await asyncio.sleep(0)  # others have their turn between two pages
        if not task_ids:
            raise TaskGroupNotFound
        self.answer({"taskgroup_id": group_id, "tasks": [{"id": task_id} for task_id in reversed(task_ids)]})


routes = [
    ("/v2/tasks/{task_id}", GlobusTaskHandler),
    ("/v2/batch_status", BatchStatusHandler),
    ("/v2/taskgroup/{group_id}", TaskGroupHandler),
]
