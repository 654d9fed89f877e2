"""Registering functions, once per process and content."""

from __future__ import annotations

import base64
import threading
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote

from funcx_lab.errors import UsageError
from funcx_lab.freshness import Snapshot
from funcx_lab.remote_function import RemoteFunction
from funcx_lab.serialize import PackedFunction, pack_function
from funcx_lab.transport import Transport


class _Known(NamedTuple):
    function_id: str
    snapshot: Snapshot


class Functions:
    """The functions that this process has registered with one hub service.

    Parameters
    ----------
    transport : Transport
        To that service.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._known: weakref.WeakKeyDictionary[Callable[..., Any], _Known] = weakref.WeakKeyDictionary()
        self._by_content: dict[tuple[str, str], str] = {}
        self._codes: dict[str, str] = {}
        self._lock = threading.Lock()

    def find(self, function: Callable[..., Any]) -> str:
        """Return the id of ``function``, registering it unless that was done and nothing changed since.

        Raises
        ------
        UsageError
            If it cannot be called.
        CannotSerialize
            If it cannot be sent.
        TransportError, ServiceError
            If it cannot be registered.
        """
        if isinstance(function, RemoteFunction):
            function = function.local_function
        try:
            known = self._known.get(function)
        except TypeError:  # an object that cannot be hashed or weakly referred to
            known = None
        if known is not None and known.snapshot.holds():
            return known.function_id
        return self._renew(function)

    def register(
        self, packed: PackedFunction, name: str | None = None, description: str | None = None
    ) -> str:
        """Return the id of a packed function, registering it if this process has not yet.

        Raises
        ------
        TransportError, ServiceError
            If it cannot be registered.
        """
        name = name or packed.name
        key = (name, packed.sha256)
        if description is None and key in self._by_content:
            return self._by_content[key]
        document = {
            "function_name": name,
            "format": "funcx-lab",
            "body": base64.b64encode(packed.body).decode("ascii"),
            "meta": {"code_sha256": packed.code or packed.sha256, **_said(packed)},
        }
        if description is not None:
            document["description"] = description
        # Registering the same content again gives the same id, so it may be repeated.
        answer = self._transport.json("POST", "/v3/functions", document, repeatable=True)
        function_id = self._by_content[key] = str(answer["function_uuid"])
        self._codes[function_id] = packed.code or packed.sha256
        return function_id

    def code(self, function_id: str) -> str:
        """Return the key of a function's code, the hex digest of what it says.

        Raises
        ------
        FunctionNotFound, TransportError, ServiceError
            If another process registered it, and the service cannot say.
        """
        known = self._codes.get(function_id)
        if known is None:
            record = self._transport.json("GET", f"/v2/functions/{quote(function_id, safe='')}")
            known = self._codes[function_id] = str(record["meta"].get("code_sha256") or record["sha256"])
        return known

    def forget(self) -> None:
        """Register functions anew at their next use: the service has lost some."""
        # New tables and no lock: the stream's thread calls this, and must not wait for a registration.
        self._by_content = {}
        self._known = weakref.WeakKeyDictionary()

    def _renew(self, function: Callable[..., Any]) -> str:
        if not callable(function):
            raise UsageError(f"{function!r} is not a function; give a callable or a function_id.")
        with self._lock:
            snapshot = Snapshot(function)  # before packing: what changes meanwhile is noticed next time
            function_id = self.register(pack_function(function))
            if snapshot.lasting:
                self._known[function] = _Known(function_id, snapshot)
        return function_id


def _said(packed: PackedFunction) -> dict[str, Any]:
    """Return what people are told of a function that nobody but its worker opens."""
    said = {"source": packed.source, "parameters": list(packed.parameters)}
    return {name: value for name, value in said.items() if value}
