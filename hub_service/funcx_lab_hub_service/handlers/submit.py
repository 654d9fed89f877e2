"""Submit tasks the way a Globus Compute client does."""

from __future__ import annotations

import asyncio
import uuid

import msgspec

from funcx_lab.errors import InvalidRequest, error_from_document
from funcx_lab.protocol.messages import TaskOptions
from funcx_lab.protocol.stream import NewTask
from funcx_lab_hub_service.handlers.base import Handler


class GlobusSubmit(msgspec.Struct):
    """Packed arguments by function; what else that client sends is for its own service."""

    tasks: dict[str, list[str]]
    task_group_id: str | None = None
    create_queue: bool = False


class SubmitHandler(Handler):
    """Tasks of an endpoint."""

    async def post(self, endpoint: str) -> None:
        """Accept the tasks; the answer comes when they are on disk."""
        request = self.body(GlobusSubmit)
        services = self.services
        record = services.endpoints.resolve(self.principal, endpoint)
        hashes = {
            function_id: services.functions.get(self.principal, function_id).sha256
            for function_id in request.tasks
        }
        group_id = _group(request.task_group_id)
        task_ids: dict[str, list[str]] = {}
        submissions = []
        for function_id, payloads in request.tasks.items():
            tasks = [NewTask(str(uuid.uuid4()), payload.encode()) for payload in payloads]
            task_ids[function_id] = [task.task_id for task in tasks]
            services.audit.submitted(
                self.principal.user, record.endpoint_id, function_id, tasks, hashes[function_id]
            )
            submissions.append(
                services.tasks.submit(
                    self.principal, record.endpoint_id, function_id, group_id, tasks, TaskOptions()
                )
            )
        for refused in await asyncio.gather(*submissions):
            for refusal in refused:
                raise error_from_document(refusal.error)
        self.answer(
            {
                "request_id": str(uuid.uuid4()),
                "task_group_id": group_id,
                "endpoint_id": record.endpoint_id,
                "tasks": task_ids,
            }
        )


def _group(group_id: str | None) -> str:
    try:
        return str(uuid.UUID(group_id)) if group_id else str(uuid.uuid4())
    except ValueError as err:
        raise InvalidRequest(f"task_group_id must be a UUID, not {group_id!r:.80}.") from err


routes = [("/v3/endpoints/{endpoint}/submit", SubmitHandler)]
