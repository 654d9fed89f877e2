"""With whom an endpoint or a function is shared: look, share, take back; for its owner."""

from __future__ import annotations

import msgspec

from funcx_lab.errors import InvalidRequest
from funcx_lab_hub_service.auth.principals import ENDPOINTS, SUBMIT
from funcx_lab_hub_service.handlers.base import Handler
from funcx_lab_hub_service.store.records import EndpointRecord, FunctionRecord
from funcx_lab_hub_service.store.shares import Share


class ShareDocument(msgspec.Struct, forbid_unknown_fields=True):
    """One user or one group."""

    group: str | None = None
    user: str | None = None

    def share(self) -> Share:
        """Return what is meant.

        Raises
        ------
        InvalidRequest
            If it is not exactly one.
        """
        if self.group is not None and self.user is None:
            return Share("group", self.group)
        if self.user is not None and self.group is None:
            return Share("user", self.user)
        raise InvalidRequest('The body names one group or one user: {"group": NAME} or {"user": NAME}.')


class SharesHandler(Handler):
    """The shares of one thing."""

    def thing(self, name_or_id: str) -> EndpointRecord | FunctionRecord:
        """Return what is shared."""
        raise NotImplementedError

    def get(self, name_or_id: str) -> None:
        """Answer with whom it is shared."""
        self._tell(self.services.sharing.listed(self.principal, self.thing(name_or_id)))

    async def post(self, name_or_id: str) -> None:
        """Share it; what is shared already stays so."""
        record = self.thing(name_or_id)
        share = self.body(ShareDocument).share()
        shares = await self.services.sharing.add(self.principal, record, share)
        self._note("shared", record, share)
        self._tell(shares)

    async def delete(self, name_or_id: str) -> None:
        """Take a share back, at once; what was accepted still runs."""
        record = self.thing(name_or_id)
        share = self.body(ShareDocument).share()
        shares = await self.services.sharing.remove(self.principal, record, share)
        self._note("unshared", record, share)
        self._tell(shares)

    def _tell(self, shares: list[Share]) -> None:
        self.answer({"shares": [{share.holder: share.name} for share in shares]})

    def _note(self, event: str, record: EndpointRecord | FunctionRecord, share: Share) -> None:
        thing, thing_id = (
            ("endpoint", record.endpoint_id)
            if isinstance(record, EndpointRecord)
            else ("function", record.function_id)
        )
        facts = {thing: thing_id, "user": self.principal.user, "with": str(share)}
        self.services.audit.note(event, **facts)


class EndpointSharesHandler(SharesHandler):
    """The shares of an endpoint."""

    write_scope = ENDPOINTS

    def thing(self, name_or_id: str) -> EndpointRecord:
        """Return the endpoint, if it is the user's."""
        return self.services.endpoints.resolve(self.principal, name_or_id, "share")


class FunctionSharesHandler(SharesHandler):
    """The shares of a function."""

    write_scope = SUBMIT

    def thing(self, name_or_id: str) -> FunctionRecord:
        """Return the function, if it is the user's."""
        return self.services.functions.get(self.principal, name_or_id, "share")


routes = [
    ("/v3/endpoints/{endpoint}/shares", EndpointSharesHandler),
    ("/v3/functions/{function_id}/shares", FunctionSharesHandler),
]
