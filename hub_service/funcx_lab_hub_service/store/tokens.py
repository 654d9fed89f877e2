"""Tokens in the database: their hashes, never themselves."""

from __future__ import annotations

import dataclasses
import sqlite3


@dataclasses.dataclass(frozen=True)
class TokenRecord:
    """One token.

    Attributes
    ----------
    created, revoked : float
        Unix seconds; ``revoked`` is None while the token works.
    """

    token_id: int
    user: str
    kind: str
    endpoint_id: str | None
    label: str
    created: float
    revoked: float | None


_COLUMNS = "token_id, user, kind, endpoint_id, label, created, revoked"


def insert(
    connection: sqlite3.Connection,
    *,
    sha256: bytes,
    user: str,
    kind: str,
    endpoint_id: str | None,
    label: str,
    now: float,
) -> int:
    """Store a token's hash and return its number."""
    cursor = connection.execute(
        "INSERT INTO tokens (sha256, user, kind, endpoint_id, label, created) VALUES (?, ?, ?, ?, ?, ?)",
        (sha256, user, kind, endpoint_id, label, now),
    )
    assert cursor.lastrowid is not None  # noqa: S101  # an INSERT always sets it; for the type checker
    return cursor.lastrowid


def find(connection: sqlite3.Connection, sha256: bytes) -> TokenRecord | None:
    """Return the working token with this hash."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM tokens WHERE sha256 = ? AND revoked IS NULL",  # noqa: S608  # constant names
        (sha256,),
    ).fetchone()
    return None if row is None else TokenRecord(*row)


def select(connection: sqlite3.Connection) -> list[TokenRecord]:
    """Return all tokens, oldest first."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM tokens ORDER BY token_id")  # noqa: S608  # constant names
    return [TokenRecord(*row) for row in rows]


def endpoints_with_token(connection: sqlite3.Connection) -> set[str]:
    """Return the endpoints whose agent has a working token."""
    rows = connection.execute(
        "SELECT DISTINCT endpoint_id FROM tokens WHERE kind = 'endpoint' AND revoked IS NULL"
    )
    return {endpoint_id for (endpoint_id,) in rows}


def revoke(connection: sqlite3.Connection, token_id: int, now: float) -> bool:
    """Stop one token; whether it worked until now."""
    cursor = connection.execute(
        "UPDATE tokens SET revoked = ? WHERE token_id = ? AND revoked IS NULL", (now, token_id)
    )
    return cursor.rowcount == 1


def revoke_endpoint(connection: sqlite3.Connection, endpoint_id: str, now: float) -> int:
    """Stop the tokens of an endpoint's agents; how many."""
    return connection.execute(
        "UPDATE tokens SET revoked = ? WHERE endpoint_id = ? AND revoked IS NULL", (now, endpoint_id)
    ).rowcount
