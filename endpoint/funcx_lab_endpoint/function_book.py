"""Which functions reached this endpoint whole. No I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from funcx_lab.protocol.messages import ErrorInfo, FunctionBody


class FunctionBook:
    """Checks functions as they arrive; only a whole one may reach the engine."""

    def __init__(self) -> None:
        self._learned: dict[str, FunctionBody] = {}
        self._damaged: dict[str, ErrorInfo] = {}

    def __iter__(self) -> Iterator[FunctionBody]:
        return iter(list(self._learned.values()))

    def get(self, function_id: str) -> FunctionBody | None:
        """Return a whole function, or None."""
        return self._learned.get(function_id)

    def take(self, function: FunctionBody) -> bool:
        """Check a function; True if the engine has to learn it."""
        digest = hashlib.sha256(function.body).hexdigest()
        if digest != function.sha256:
            message = (
                f"The function {function.name!r} was changed on its way: its SHA-256 is {digest}, "
                f"announced was {function.sha256[:64]}. It was not run."
            )
            self._damaged[function.function_id] = ErrorInfo("PAYLOAD_HASH_MISMATCH", message)
            return False
        self._damaged.pop(function.function_id, None)
        known = self._learned.get(function.function_id)
        self._learned[function.function_id] = function
        return known is None or known.sha256 != digest

    def has_come(self, function_id: str) -> bool:
        """Whether the function arrived, whole or not."""
        return function_id in self._learned or function_id in self._damaged

    def problem(self, function_id: str) -> ErrorInfo | None:
        """Return why a task cannot run this function, None if it can."""
        if function_id in self._damaged:
            return self._damaged[function_id]
        if function_id not in self._learned:
            return ErrorInfo(
                "FUNCTION_NOT_FOUND", f"The function {function_id} never arrived at the endpoint."
            )
        return None
