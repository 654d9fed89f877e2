"""Who asks."""

from __future__ import annotations

import dataclasses
from typing import Literal


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
        The token that was shown.
    """

    user: str
    kind: Literal["user", "endpoint"] = "user"
    endpoint_id: str | None = None
    token_id: int = 0
