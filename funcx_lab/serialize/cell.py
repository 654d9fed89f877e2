"""A notebook cell as a function: packed here, run at the worker.

The cell runs in a namespace of its own that is ``__main__`` while it runs. Its inputs are names there,
the value of its last expression is its value, and the names it assigns come back.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import os
import sys
import tokenize
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from types import CodeType, FunctionType, ModuleType
from typing import Any

import msgspec

from funcx_lab.errors import CannotDeserialize, MalformedMessage
from funcx_lab.protocol import payload
from funcx_lab.protocol.payload import Buffer, Payload
from funcx_lab.serialize import display, rebuild, source

#: Names that were not asked for come back up to this many bytes each.
AUTO_LIMIT = 1024 * 1024
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_INNER = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class CellSource(msgspec.Struct, frozen=True, array_like=True):
    """A cell on its way to a worker; the fields are those of `pack`."""

    source: str
    filename: str
    first_line: int
    inputs: list[str]
    outputs: list[str] | None
    imports: list[str]


@dataclass(slots=True)
class CellResult:
    """What a cell leaves.

    Attributes
    ----------
    value_present : bool
        Whether the last statement is an expression that is not silenced by ``;`` and not None.
    value : Any
        Its value, unless it is in ``left_out`` under ``"_"``.
    display : dict
        MIME type to text of the value.
    names : dict
        Values of the names that come back.
    left_out : dict
        Name to the reason why it does not come back.
    limit : int or None
        Bytes that each name may have.
    main : module or None
        What was ``__main__`` while the cell ran; stays at the worker.
    """

    value_present: bool = False
    value: Any = None
    display: dict[str, Any] = field(default_factory=dict)
    names: dict[str, Any] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    limit: int | None = None
    main: ModuleType | None = None


@contextmanager
def as_main(module: ModuleType | None) -> Iterator[None]:
    """Let ``module`` be ``__main__``: a cell's classes are found by name while it runs and is packed."""
    before = sys.modules["__main__"]
    if module is not None:
        sys.modules["__main__"] = module
    try:
        yield
    finally:
        sys.modules["__main__"] = before


def main_of(function: Any) -> ModuleType | None:
    """Return the module that holds a rebuilt function's globals, if it was ``__main__`` where it was made."""
    space = getattr(inspect.unwrap(function), "__globals__", {})
    module: ModuleType | None = space.get(rebuild.MODULE)
    return module if module is not None and space["__name__"] == "__main__" else None


def pack(
    text: str,
    *,
    filename: str,
    first_line: int,
    inputs: list[str],
    outputs: list[str] | None,
    imports: list[str],
) -> Payload:
    """Return the payload of a cell.

    Parameters
    ----------
    text : str
        The cell without its magic line, as Python.
    filename : str
        The name it has in tracebacks; only its base name travels.
    first_line : int
        The number of its first line in the notebook's cell.
    inputs : list of str
        Names that the caller will pass.
    outputs : list of str or None
        Names to bring back; None brings back all that it assigns at top level.
    imports : list of str
        Import statements to run first.
    """
    base = "cell" if "ipykernel" in filename else os.path.basename(filename)
    made = CellSource(text, base, first_line, inputs, outputs, imports)
    return payload.pack("cell", [msgspec.msgpack.encode(made)])


def unpack(parts: Sequence[Buffer]) -> CellFunction:
    """Return the cell as a function of its inputs.

    Raises
    ------
    MalformedMessage
        If the payload does not hold a cell.
    CannotDeserialize
        If the cell is not Python.
    """
    try:
        return CellFunction(msgspec.msgpack.decode(parts[0], type=CellSource))
    except (msgspec.DecodeError, UnicodeDecodeError, IndexError) as err:
        raise MalformedMessage(f"The payload does not hold a cell: {err}") from err


class CellFunction:
    """Runs a cell; call it with the inputs as keyword arguments."""

    def __init__(self, cell: CellSource) -> None:
        self.cell = cell
        self.__name__ = cell.filename
        digest = hashlib.sha256(
            f"{cell.first_line} {cell.source}".encode("utf-8", "surrogatepass")
        ).hexdigest()
        self.filename = f"<{cell.filename.strip('<>')} {digest[:8]}>"
        self._padded = "\n" * (cell.first_line - 1) + cell.source
        try:
            self._body, self._last = self._compile()
        except SyntaxError as err:
            raise CannotDeserialize(
                f"The cell is not Python {payload.PYTHON}: {err.msg} (line {err.lineno})."
            ) from err

    def _compile(self) -> tuple[CodeType, CodeType | None]:
        tree = ast.parse(self._padded, self.filename)
        self._assigned = list(dict.fromkeys(_assigned(tree.body)))
        last: ast.Expression | None = None
        if tree.body and isinstance(tree.body[-1], ast.Expr) and not is_silenced(self.cell.source):
            last = ast.Expression(tree.body.pop().value)  # type: ignore[attr-defined]  # an Expr, see above
        return self._code(tree, "exec"), self._code(last, "eval") if last is not None else None

    def _code(self, tree: Any, mode: str) -> CodeType:
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        return compile(tree, self.filename, mode, flags=flags, dont_inherit=True)  # type: ignore[no-any-return]  # no AST flag

    @property
    def is_async(self) -> bool:
        """Whether the cell awaits something at its top level."""
        codes = (code for code in (self._body, self._last) if code is not None)
        return any(code.co_flags & inspect.CO_COROUTINE for code in codes)

    def __call__(self, **inputs: Any) -> CellResult:
        """Run the cell.

        Returns
        -------
        CellResult
            What it left.
        """
        display.prepare_matplotlib()
        source.register_text(self.filename, self._padded)
        space = rebuild.shared_space.get() or _space_of(inputs.values()) or rebuild.make_space("__main__")
        space.update(inputs)
        with as_main(space[rebuild.MODULE]):
            for statement in self.cell.imports:
                exec(compile(statement, "<funcx imports>", "exec", dont_inherit=True), space)  # noqa: S102  # the user's own
            value = self._run(space)
        return self._result(value, space)

    def _run(self, space: dict[str, Any]) -> Any:
        codes = [code for code in (self._body, self._last) if code is not None]
        value = None
        if not self.is_async:
            for code in codes:
                value = eval(code, space)  # noqa: S307  # the user's own
            return value

        async def run() -> Any:
            value = None
            for code in codes:
                value = eval(code, space)  # noqa: S307  # the user's own
                if code.co_flags & inspect.CO_COROUTINE:
                    value = await value
            return value

        import asyncio  # not needed by most, and slow to import

        return asyncio.run(run())

    def _result(self, value: Any, space: dict[str, Any]) -> CellResult:
        limit = AUTO_LIMIT if self.cell.outputs is None else None
        result = CellResult(limit=limit, main=space[rebuild.MODULE])
        if self._last is not None and value is not None:
            result.value_present, result.value = True, value
            result.display = display.mimebundle(value)
        wanted = self.cell.outputs
        for name in self._assigned if wanted is None else wanted:
            if name not in space:
                if wanted is not None:
                    result.left_out[name] = "the cell does not assign it"
            elif wanted is not None or not (name.startswith("_") or isinstance(space[name], ModuleType)):
                result.names[name] = space[name]
        return result


def _space_of(inputs: Any) -> dict[str, Any] | None:
    """Return the globals that functions among the inputs share, so that they see the cell's names."""
    for value in inputs:
        members = source.functions_of(value).values() if isinstance(value, type) else [value]
        for function in members:
            space = function.__globals__ if isinstance(function, FunctionType) else {}
            if rebuild.MODULE in space and space["__name__"] == "__main__":
                return space
    return None


def is_silenced(text: str) -> bool:
    """Whether the last thing in a cell, comments aside, is a semicolon."""
    ignored = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER, tokenize.DEDENT)
    try:
        tokens = [
            token for token in tokenize.generate_tokens(StringIO(text).readline) if token.type not in ignored
        ]
    except (tokenize.TokenError, SyntaxError):
        return False
    return bool(tokens) and tokens[-1].string == ";"


def _assigned(body: Sequence[ast.AST]) -> Iterator[str]:
    """Yield the names that statements bind at top level, imports excepted."""
    for node in body:
        if isinstance(node, _SCOPES):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.MatchAs | ast.MatchStar) and node.name:
            yield node.name
            yield from _assigned(list(ast.iter_child_nodes(node)))
        elif not isinstance(node, _INNER):
            yield from _assigned(list(ast.iter_child_nodes(node)))
