"""What a task calls: its inputs by name and size, its source, and the same call once more."""

from __future__ import annotations

import asyncio
import uuid

import msgspec

from funcx_lab.errors import ObjectNotFound, error_from_document
from funcx_lab.protocol import readable
from funcx_lab.protocol.messages import ObjectRef, TaskOptions
from funcx_lab.protocol.stream import NewTask, TaskCall
from funcx_lab_hub_service.handlers.base import Handler

#: So many bytes of a large payload are looked at.
_HEAD = 1024 * 1024


class CallHandler(Handler):
    """What one task calls, for another run of the same."""

    def get(self, task_id: str) -> None:
        """Answer function, arguments and options in msgpack."""
        call = self.services.tasks.call(self.principal, task_id)
        self.set_header("Content-Type", "application/msgpack")
        self.finish(msgspec.msgpack.encode(call))


class InputsHandler(Handler):
    """The inputs of one task, as far as they can be told without opening anything."""

    async def get(self, task_id: str) -> None:
        """Answer names, sizes and kinds of the inputs, and the plain source."""
        call = self.services.tasks.call(self.principal, task_id)
        function, about = call.function, self.services.functions.about(call.function)
        if call.object is None:
            block, size = call.payload, len(call.payload)
        else:
            block, size = await self._head(call.object), call.object.size
        inputs = readable.shared_inputs_of(function.format, function.body)
        inputs += readable.inputs_of(block, size, about.parameters)
        self.answer({"inputs": [each.as_document() for each in inputs], "source": about.source})

    async def _head(self, reference: ObjectRef) -> bytes:
        """Return the beginning of an object; nothing of one that was removed."""
        try:
            path, _ = self.services.objects.find(self.principal, reference.sha256)
        except ObjectNotFound:
            return b""

        def read() -> bytes:
            with path.open("rb") as file:
                return file.read(_HEAD)

        return await asyncio.to_thread(read)


class RetryHandler(Handler):
    """The same call as a new task."""

    async def post(self, task_id: str) -> None:
        """Submit the call again, to run even if a result of it is stored; answer the new task's id."""
        self.raw_body()  # nothing is asked for in it
        services = self.services
        call = services.tasks.call(self.principal, task_id)
        function_id = await services.functions.revive(self.principal, call.function.function_id)
        task = NewTask(str(uuid.uuid4()), call.payload, call.object)
        sha256 = services.functions.get(self.principal, function_id).sha256
        committed = services.tasks.submit(
            self.principal, call.endpoint_id, function_id, call.group_id, [task], _again(call)
        )
        services.audit.submitted(self.principal.user, call.endpoint_id, function_id, [task], sha256)
        for refusal in await committed:
            raise error_from_document(refusal.error)
        self.answer({"task_id": task.task_id})


def _again(call: TaskCall) -> TaskOptions:
    options = call.options or TaskOptions()
    return msgspec.structs.replace(options, repeats=call.task_id, fresh=options.memo is not None)


routes = [
    ("/v3/tasks/{task_id}/call", CallHandler),
    ("/v3/tasks/{task_id}/inputs", InputsHandler),
    ("/v3/tasks/{task_id}/retry", RetryHandler),
]
