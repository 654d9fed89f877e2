"""What the handlers stand on: the rules, put together by the composition root."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from funcx_lab_hub_service.audit import Audit
    from funcx_lab_hub_service.auth.jupyterhub import JupyterHub
    from funcx_lab_hub_service.auth.sessions import Sessions
    from funcx_lab_hub_service.auth.tokens import Tokens
    from funcx_lab_hub_service.config import ServiceConfig
    from funcx_lab_hub_service.endpoints import Endpoints
    from funcx_lab_hub_service.feed import Feed
    from funcx_lab_hub_service.functions import Functions
    from funcx_lab_hub_service.handlers.gate import Gate
    from funcx_lab_hub_service.objects import Objects
    from funcx_lab_hub_service.sharing import Sharing
    from funcx_lab_hub_service.tasks import Tasks


class Link(Protocol):
    """What handlers tell agents about the forwarder."""

    @property
    def address(self) -> str:
        """ZeroMQ address to dial."""

    @property
    def public_key(self) -> str:
        """CURVE key (Z85)."""


@dataclasses.dataclass(frozen=True)
class Services:
    """The rules that handlers call.

    Attributes
    ----------
    hosts : set of str
        Values of the ``Host`` header that are served; filled once the port is known.
    """

    config: ServiceConfig
    tokens: Tokens
    functions: Functions
    endpoints: Endpoints
    tasks: Tasks
    objects: Objects
    feed: Feed
    link: Link
    hosts: set[str]
    gate: Gate
    audit: Audit
    sharing: Sharing
    sessions: Sessions
    #: None unless this is a service of a JupyterHub
    hub: JupyterHub | None = None
