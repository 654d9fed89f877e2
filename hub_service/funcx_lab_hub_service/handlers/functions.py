"""Functions: register, list, look at, delete."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import msgspec

from funcx_lab.errors import InvalidRequest
from funcx_lab_hub_service.handlers.base import Handler, check_depth

if TYPE_CHECKING:
    from funcx_lab_hub_service.store.records import FunctionRecord


class NewFunction(msgspec.Struct):
    """A function in Globus Compute's form (``function_code``) or in ours (``body``)."""

    function_name: str
    #: packed text or, when ``serialized`` is false, plain source
    function_code: str | None = None
    serialized: bool = True
    format: str | None = None
    #: a payload in base64, when ``format`` is ``"funcx-lab"``
    body: str | None = None
    meta: dict[str, Any] = {}
    description: str | None = None

    def content(self) -> tuple[bytes, str]:
        """Return the bytes to keep and their format.

        Raises
        ------
        InvalidRequest
            If it is neither of the two forms.
        """
        if self.format == "funcx-lab" and self.body is not None and self.function_code is None:
            try:
                return base64.b64decode(self.body, validate=True), "funcx-lab"
            except ValueError as err:  # its own Error is one, too
                raise InvalidRequest(f"`body` is not base64: {err}.") from err
        if self.format is None and self.body is None and self.function_code is not None:
            return self.function_code.encode(), "globus" if self.serialized else "globus-source"
        raise InvalidRequest(
            'A function has either `function_code`, or `format` "funcx-lab" and a base64 `body`.'
        )


class FunctionListHandler(Handler):
    """All functions of a user."""

    def get(self) -> None:
        """Answer the user's functions without their bodies."""
        functions = self.services.functions.list(self.principal)
        self.answer({"functions": [_document(function) for function in functions]})

    async def post(self) -> None:
        """Register a function; the same content under the same name keeps its id."""
        new = self.body(NewFunction)
        content, format_ = new.content()
        check_depth("meta", new.meta)
        meta = new.meta if new.description is None else {**new.meta, "description": new.description}
        function_id = await self.services.functions.register(
            self.principal, new.function_name, content, format_, meta
        )
        sha256 = self.services.functions.get(self.principal, function_id).sha256
        self.services.audit.note(
            "function-registered", user=self.principal.user, function=function_id, sha256=sha256
        )
        self.answer({"function_uuid": function_id})


class FunctionHandler(Handler):
    """One function."""

    def get(self, function_id: str) -> None:
        """Answer what is known of the function."""
        functions = self.services.functions
        document = _document(functions.get(self.principal, function_id))
        self.answer({**document, "source": functions.source(self.principal, function_id)})

    async def delete(self, function_id: str) -> None:
        """Delete the function; its tasks stay."""
        await self.services.functions.delete(self.principal, function_id)
        self.services.audit.note("function-deleted", user=self.principal.user, function=function_id)
        self.answer({"result": 302})


def _document(record: FunctionRecord) -> dict[str, Any]:
    return {
        "function_uuid": record.function_id,
        "function_name": record.name,
        "format": record.format,
        "sha256": record.sha256,
        "created": record.created,
        "meta": record.meta,
    }


routes = [
    ("/v3/functions", FunctionListHandler),
    ("/v2/functions/{function_id}", FunctionHandler),
]
