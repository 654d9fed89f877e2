"""Where in a shell command one stands: in quotes, in a here-document, or where a quoted word is one word."""

from __future__ import annotations


class Quotes:
    """Reads a command from its beginning and knows whether it is inside quotes.

    It knows what commands are made of (quotes, backslashes, comments, ``$(...)``); where it cannot be
    sure, as in here-documents and backquotes, it says that one is not outside.
    """

    def __init__(self) -> None:
        #: what is open: ``'``, ``"``, ``(``, ````` ``` or ``#``
        self._open: list[str] = []
        self._last = "\n"
        self._is_escaped = False
        self._has_document = False

    def read(self, text: str) -> None:
        """Read on."""
        for character in text:
            self._step(character)
            self._last = character

    @property
    def why_not(self) -> str:
        """Why a quoted word would not be one here; empty where it would."""
        if self._has_document:
            return "behind <<, where quotes mean nothing"
        inner = self._open[-1] if self._open else "("
        return {"(": "", "#": "in a comment", "`": "in backquotes"}.get(inner, "in quotes")

    def _step(self, character: str) -> None:
        inner = self._open[-1] if self._open else ""
        if self._is_escaped:
            self._is_escaped = False
        elif inner == "#":
            if character == "\n":
                self._open.pop()
        elif inner == "'":
            if character == "'":
                self._open.pop()
        elif character == "\\":
            self._is_escaped = True
        elif character == inner and inner in ('"', "`"):
            self._open.pop()
        elif character == "(" and (self._last == "$" or inner != '"'):
            self._open.append("(")
        elif inner == '"':
            return
        else:
            self._step_outside(character, inner)

    def _step_outside(self, character: str, inner: str) -> None:
        if character == ")" and inner == "(":
            self._open.pop()
        elif character in "'\"`" or (character == "#" and self._last in " \t\n;&|("):
            self._open.append(character)
        elif character == "<" and self._last == "<":
            self._has_document = True
