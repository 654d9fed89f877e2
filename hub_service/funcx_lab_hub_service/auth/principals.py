"""Who asks."""

from __future__ import annotations

import dataclasses
from typing import Literal

#: What a token may be good for. JupyterHub grants these to users; elsewhere every user has all.
READ, SUBMIT, ENDPOINTS = "custom:funcx:read", "custom:funcx:submit", "custom:funcx:endpoints"
SCOPES = frozenset({READ, SUBMIT, ENDPOINTS})


@dataclasses.dataclass(frozen=True)
class Principal:
    """The person or the endpoint behind a token.

    Attributes
    ----------
    user : str
        The person; for an endpoint its owner.
    kind : {"user", "endpoint"}
        An endpoint's agent may read what its tasks need, and write objects.
    endpoint_id : str or None
        Set when ``kind`` is ``"endpoint"``.
    token_id : int
        The token that was shown; 0 if it is not one of ours.
    groups : frozenset of str
        Groups that the person is in, as JupyterHub tells.
    scopes : frozenset of str
        What the person may do at all; see `SCOPES`.
    """

    user: str
    kind: Literal["user", "endpoint"] = "user"
    endpoint_id: str | None = None
    token_id: int = 0
    groups: frozenset[str] = frozenset()
    scopes: frozenset[str] = SCOPES
