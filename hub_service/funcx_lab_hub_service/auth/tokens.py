"""Bearer tokens: made here, stored as hashes, verified from memory when hot."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Literal, cast

from funcx_lab.errors import NotAuthenticated, NotFound
from funcx_lab_hub_service.auth.principals import Principal
from funcx_lab_hub_service.store import tokens as store

if TYPE_CHECKING:
    from funcx_lab_hub_service.auth.jupyterhub import JupyterHub
    from funcx_lab_hub_service.store.database import Database
    from funcx_lab_hub_service.store.tokens import TokenRecord

PREFIX = "fxl_"
#: A revocation made by another process is seen within this many seconds, by a stream in twice the time.
FRESH_S = 2.0
#: So many verified tokens are kept in memory.
_CACHE_LIMIT = 10_000


def new_token() -> str:
    """Return ``fxl_`` and 43 random characters (256 bits)."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(token: str) -> bytes:
    """Return what is stored instead of the token."""
    return hashlib.sha256(token.encode()).digest()


class Tokens:
    """Create, verify and revoke tokens.

    Parameters
    ----------
    database : Database
        Holds the hashes.
    clock : callable
        Monotonic seconds, for the age of what is in memory.
    hub : JupyterHub, optional
        Who verifies the tokens that are not ours.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], float] = time.monotonic,
        hub: JupyterHub | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._hub = hub
        self._hot: dict[str, tuple[float, Principal]] = {}

    async def create(
        self,
        user: str,
        *,
        kind: Literal["user", "endpoint"] = "user",
        endpoint_id: str | None = None,
        label: str = "",
    ) -> str:
        """Return a new token of ``user``; its hash is on disk then."""
        token = new_token()
        await self._database.write(
            lambda connection: store.insert(
                connection,
                sha256=digest(token),
                user=user,
                kind=kind,
                endpoint_id=endpoint_id,
                label=label,
                now=time.time(),
            )
        )
        return token

    def renew(self, token: str) -> Awaitable[None] | None:
        """Return what to wait for before `verify` can tell; None for nothing.

        Raises
        ------
        TooManyRequests
            If JupyterHub would have to be asked for too many tokens.
        """
        if self._hub is None or token.startswith(PREFIX):
            return None
        return self._hub.renew(token)

    def verify(self, token: str) -> Principal:
        """Return who shows ``token``.

        Raises
        ------
        NotAuthenticated
            If it is wrong or revoked.
        NotAuthorized, ServiceUnavailable
            If JupyterHub says so, or nothing.
        """
        if self._hub is not None and not token.startswith(PREFIX):
            return self._hub.verify(token)
        now = self._clock()
        hot = self._hot.get(token)
        if hot is not None and now - hot[0] < FRESH_S:
            return hot[1]
        record = store.find(self._database.reader, digest(token)) if token.startswith(PREFIX) else None
        if record is None:
            self._hot.pop(token, None)
            raise NotAuthenticated
        principal = Principal(
            record.user,
            cast('Literal["user", "endpoint"]', record.kind),
            record.endpoint_id,
            record.token_id,
        )
        if len(self._hot) >= _CACHE_LIMIT:
            self._hot.clear()
        self._hot[token] = (now, principal)
        return principal

    def list(self) -> list[TokenRecord]:
        """Return all tokens, without their secret."""
        return store.select(self._database.reader)

    async def revoke(self, token_id: int) -> None:
        """Stop a token at once.

        Raises
        ------
        NotFound
            If no working token has this number.
        """
        found = await self._database.write(lambda connection: store.revoke(connection, token_id, time.time()))
        self._hot.clear()
        if not found:
            raise NotFound(f"There is no working token number {token_id}; `token list` shows them.")

    async def revoke_endpoint(self, endpoint_id: str) -> None:
        """Stop the tokens of an endpoint's agents at once."""
        await self._database.write(
            lambda connection: store.revoke_endpoint(connection, endpoint_id, time.time())
        )
        self._hot.clear()
