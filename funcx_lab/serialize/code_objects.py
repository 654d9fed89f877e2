"""Questions to code objects: what they name, and whether two of them are the same code."""

from __future__ import annotations
import __future__

import dis
from collections.abc import Iterator
from types import CodeType

#: The one ``from __future__`` feature that still changes how code is compiled.
FUTURE_MASK = __future__.annotations.compiler_flag

_READS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})


def nested(code: CodeType) -> Iterator[CodeType]:
    """Yield ``code`` and every code object inside it, in the order of the text."""
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from nested(const)


def names_read(code: CodeType) -> set[str]:
    """Return the global names that ``code`` itself reads, not what is nested in it."""
    return {str(step.argval) for step in dis.get_instructions(code) if step.opname in _READS}


def global_names(code: CodeType) -> list[str]:
    """Return the global names that ``code`` and all code inside it read, sorted."""
    return sorted(set().union(*(names_read(part) for part in nested(code))))


def attribute_names(code: CodeType) -> set[str]:
    """Return every name that could be an attribute used by ``code`` or by code inside it."""
    return {name for part in nested(code) for name in part.co_names}


def line_of(code: CodeType, name: str) -> int | None:
    """Return the first line on which ``code`` or code inside it reads ``name``."""
    for part in nested(code):
        line = part.co_firstlineno
        for step in dis.get_instructions(part):
            line = _line(step) or line
            if step.argval == name and (step.opname in _READS or "DEREF" in step.opname):
                return line
    return None


def _line(step: dis.Instruction) -> int | None:
    positions = getattr(step, "positions", None)  # Python 3.11
    return positions.lineno if positions is not None else step.starts_line


def same_code(one: CodeType, other: CodeType, *, lines: bool) -> bool:
    """Whether two code objects do the same; with ``lines`` also at the same place of the text."""
    return _comparable(one, lines) == _comparable(other, lines)


def _comparable(code: CodeType, lines: bool) -> CodeType:
    # A fresh copy: bytecode of a function that has run is specialised in place.
    consts = tuple(_comparable(c, lines) if isinstance(c, CodeType) else c for c in code.co_consts)
    if lines:
        return code.replace(co_filename="", co_consts=consts)
    return code.replace(co_filename="", co_consts=consts, co_firstlineno=1, co_linetable=b"")
