"""Endpoints: register, enrol, list, status, delete."""

from __future__ import annotations

from typing import Any

import msgspec

from funcx_lab.errors import FuncxLabError, NotAuthorized, StoreDamaged
from funcx_lab_hub_service.auth.principals import ENDPOINTS
from funcx_lab_hub_service.handlers.base import Handler, check_depth
from funcx_lab_hub_service.handlers.overview import endpoint_documents


class NewEndpoint(msgspec.Struct):
    """What registers an endpoint; Globus Compute's other fields are not needed."""

    endpoint_name: str
    metadata: dict[str, Any] = {}
    endpoint_uuid: str | None = None


class Enrolment(msgspec.Struct, forbid_unknown_fields=True):
    """The agent shows its one-time token and the key that it made."""

    enrolment_token: str
    #: CURVE public key, Z85
    public_key: str


class EndpointListHandler(Handler):
    """All endpoints of a user."""

    write_scope = ENDPOINTS

    def get(self) -> None:
        """Answer the user's endpoints and how they are."""
        condition = self.services.endpoints.condition
        documents = endpoint_documents(self.services, self.principal)
        for document in documents:
            document["details"] = condition(document["endpoint_id"]).details
        self.answer({"endpoints": documents})

    async def post(self) -> None:
        """Register an endpoint, or an enrolment of one that is there."""
        new = self.body(NewEndpoint)
        check_depth("metadata", new.metadata)
        endpoint_id, enrolment_token = await self.services.endpoints.register(
            self.principal, new.endpoint_name, new.metadata, new.endpoint_uuid
        )
        facts = {"user": self.principal.user, "endpoint": endpoint_id, "name": new.endpoint_name}
        self.services.audit.note("endpoint-registered", **facts)
        self.answer({"endpoint_id": endpoint_id, "enrolment_token": enrolment_token})


class EnrolHandler(Handler):
    """Exchange a one-time enrolment token for an agent's token."""

    public = True
    body_limit = 64 * 1024  # nobody has shown a token yet

    async def post(self, endpoint_id: str) -> None:
        """Enrol the agent's key; the enrolment token in the body is the credential."""
        enrolment = self.body(Enrolment)
        try:
            agent_token = await self.services.endpoints.enrol(
                endpoint_id, enrolment.enrolment_token, enrolment.public_key
            )
        except FuncxLabError as err:
            raise self.turned_away(err) from err
        address = str(self.request.remote_ip)
        self.services.audit.note("endpoint-enrolled", endpoint=endpoint_id, address=address)
        link = self.services.link
        self.answer(
            {
                "agent_token": agent_token,
                "forwarder_address": link.address,
                "forwarder_key": link.public_key,
            }
        )


class LinkHandler(Handler):
    """Where an agent dials."""

    for_agents = True

    def get(self) -> None:
        """Answer the forwarder's address and key to an agent."""
        if self.principal.kind != "endpoint":
            raise NotAuthorized("Only an endpoint's agent asks for the link, with its agent token.")
        if self.services.gate.damage:
            raise StoreDamaged(self.services.gate.damage)
        link = self.services.link
        self.answer({"forwarder_address": link.address, "forwarder_key": link.public_key})


class GlobusEndpointListHandler(Handler):
    """The list that a Globus Compute client reads."""

    def get(self) -> None:
        """Answer the user's endpoints."""
        records = self.services.endpoints.list(self.principal)
        self.answer(
            [{"uuid": record.endpoint_id, "name": record.name, "owner": record.owner} for record in records]
        )


class GlobusEndpointHandler(Handler):
    """One endpoint, as a Globus Compute client reads it."""

    write_scope = ENDPOINTS

    def get(self, endpoint: str) -> None:
        """Answer the endpoint's name, owner and metadata."""
        record = self.services.endpoints.resolve(self.principal, endpoint)
        self.answer(
            {
                "uuid": record.endpoint_id,
                "name": record.name,
                "owner": record.owner,
                "metadata": record.metadata,
            }
        )

    async def delete(self, endpoint: str) -> None:
        """Delete the endpoint and cut its agent off."""
        record = self.services.endpoints.resolve(self.principal, endpoint)
        await self.services.endpoints.delete(self.principal, record.endpoint_id)
        self.services.audit.note(
            "endpoint-deleted", user=self.principal.user, endpoint=record.endpoint_id, name=record.name
        )
        self.answer({"result": 200})


class EndpointStatusHandler(Handler):
    """How one endpoint is."""

    def get(self, endpoint: str) -> None:
        """Answer status, since when, why and the last status report."""
        record = self.services.endpoints.resolve(self.principal, endpoint)
        self.answer(self.services.endpoints.status(self.principal, record.endpoint_id))


class EnvironmentHandler(Handler):
    """What the workers of one endpoint have."""

    def get(self, endpoint: str) -> None:
        """Answer Python, packages, accelerators and limits as they were reported last, null for never."""
        self.answer(self.services.endpoints.environment(self.principal, endpoint))


routes = [
    ("/v3/endpoints", EndpointListHandler),
    ("/v3/endpoints/{endpoint_id}/enrol", EnrolHandler),
    ("/v3/endpoints/{endpoint}/environment", EnvironmentHandler),
    ("/v3/link", LinkHandler),
    ("/v2/endpoints", GlobusEndpointListHandler),
    ("/v2/endpoints/{endpoint}", GlobusEndpointHandler),
    ("/v2/endpoints/{endpoint}/status", EndpointStatusHandler),
]
