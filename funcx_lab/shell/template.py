"""A command line with placeholders; every value that is put in is quoted for the shell."""

from __future__ import annotations

import shlex
import string
from collections.abc import Sequence
from typing import Any

from funcx_lab.errors import UsageError
from funcx_lab.shell.quotes import Quotes

_BRACES = "write {{ and }} for braces that are the shell's own, $name for its variables"


class Template:
    """A command with ``{placeholders}``, as `str.format` has them.

    Each value stands in the command as one word of the shell, quoted if need be; a list or tuple as one
    word for each of its items. So a placeholder may not stand inside quotes itself.

    Parameters
    ----------
    text : str
        The command.

    Raises
    ------
    UsageError
        If a placeholder is not a name, or stands where quoting does not hold.
    """

    def __init__(self, text: str) -> None:
        if not isinstance(text, str) or not text.strip() or "\0" in text:
            raise UsageError(f"A command must be text without null bytes, not {text!r:.80}.")
        self.text = text
        self.names = _names(text)

    def fill(self, args: Sequence[Any], kwargs: dict[str, Any]) -> str:
        """Return the command with values for its placeholders.

        Parameters
        ----------
        args : sequence
            For the placeholders in the order in which they first appear.
        kwargs : dict
            By name.

        Raises
        ------
        UsageError
            If a value is missing, given twice, left over, or cannot be a word of the shell.
        """
        if len(args) > len(self.names):
            raise UsageError(f"{len(args)} values for {len(self.names)} placeholders in {self.text!r:.200}.")
        given = dict(zip(self.names, args, strict=False))
        twice, unknown = given.keys() & kwargs.keys(), kwargs.keys() - set(self.names)
        missing = [name for name in self.names if name not in given and name not in kwargs]
        for wrong, names in (
            ("two values for", twice),
            ("no placeholder", unknown),
            ("no value for", missing),
        ):
            if names:
                raise UsageError(f"{wrong} {{{min(names)}}} in the command {self.text!r:.200}.")
        try:
            return _Quoting().vformat(self.text, (), {**given, **kwargs})
        except (ValueError, TypeError, LookupError, AttributeError) as err:
            if isinstance(err, UsageError):
                raise
            raise UsageError(f"The command {self.text!r:.200} cannot be filled in: {err}") from err


class _Quoting(string.Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, (list, tuple)):
            return " ".join(_word(item, format_spec) for item in value)
        return _word(value, format_spec)


def _word(value: Any, format_spec: str) -> str:
    if value is None:
        raise UsageError("None cannot be a word of a command; leave the value out, or write what it means.")
    text = format(value, format_spec)
    if "\0" in text:
        raise UsageError("A word of a command cannot hold a null byte.")
    return shlex.quote(text)


def _names(text: str) -> list[str]:
    """Return the names of the placeholders in the order of their first appearance."""
    names: dict[str, None] = {}
    quotes = Quotes()
    try:
        for literal, field, spec, _ in string.Formatter().parse(text):
            quotes.read(literal)
            if field is None:
                continue
            name = field.partition(".")[0].partition("[")[0]
            if not name.isidentifier() or literal.endswith("$") or "{" in (spec or ""):
                raise UsageError(f"{{{field}}} in the command is not a placeholder; {_BRACES}.")
            if quotes.why_not:
                raise UsageError(f"{{{field}}} stands {quotes.why_not}: {_REMEDY}")
            names[name] = None
            quotes.read("x")
    except ValueError as err:
        if isinstance(err, UsageError):
            raise
        raise UsageError(f"The command cannot be read: {err}; {_BRACES}.") from err
    return list(names)


_REMEDY = "values are quoted when they are put in, so let it stand for a whole word outside of quotes."
