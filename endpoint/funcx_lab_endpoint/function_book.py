"""Which functions reached this endpoint whole."""

from __future__ import annotations

import hashlib

from funcx_lab.protocol.messages import ErrorInfo, FunctionBody


class FunctionBook:
    """Checks functions as they arrive; only a whole one may reach the engine."""

    def __init__(self) -> None:
        self._learned: dict[str, str] = {}
        self._damaged: dict[str, ErrorInfo] = {}

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
        is_new = self._learned.get(function.function_id) != digest
        self._learned[function.function_id] = digest
        return is_new

    def problem(self, function_id: str) -> ErrorInfo | None:
        """Return why a task cannot run this function, None if it can."""
        if function_id in self._damaged:
            return self._damaged[function_id]
        if function_id not in self._learned:
            return ErrorInfo(
                "FUNCTION_NOT_FOUND", f"The function {function_id} never arrived at the endpoint."
            )
        return None
