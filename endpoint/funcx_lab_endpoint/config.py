"""The endpoint's config file: Python that defines ``config``, a `Config` or any ``parsl.Config``."""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from funcx_lab.errors import ConfigError

__all__ = ["Config", "EndpointConfig", "load_config", "template"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Where and how an endpoint runs tasks.

    Say either nothing (this machine), or a ``provider`` with numbers, or ``executors``, or a whole
    ``parsl_config``.

    Parameters
    ----------
    engine : {"htex", "processes"}
        Parsl's HighThroughputExecutor, or plain processes on this machine without Parsl.
    provider : Parsl provider, optional
        Where blocks come from (Slurm, Kubernetes ...); this machine when left out. A given provider
        brings its own block numbers.
    launcher : Parsl launcher, optional
        How workers start on the nodes of a block; replaces the provider's.
    executors : sequence of Parsl executors
        Used as they are, instead of one built from provider and numbers.
    parsl_config : parsl.Config, optional
        Used as it is; its executors become ``executors``.
    max_workers_per_node : int, optional
        One per core when left out.
    init_blocks, min_blocks, max_blocks : int
        Blocks of this machine's own provider; unused with ``provider``.
    address : str, optional
        The address at which workers reach the endpoint; 127.0.0.1 on this machine, else found out.
    worker_init : str
        Shell lines to run before a worker starts on this machine; a given provider brings its own.
    working_directory : str, optional
        Where functions run, a directory of the machine they run on; the user's home directory when left out.
    idle_seconds : float
        Blocks above the minimum go after this many seconds without work.
    session_idle_seconds : float
        A named session ends when it was not used for so many seconds; until then its worker stays.
    drain_seconds : float
        At stop, how many seconds running calls may take to end.
    result_limit : int
        Largest result in bytes; a larger one fails the task with RESULT_TOO_LARGE.
    object_cache_limit : int
        Bytes that fetched objects may take on this machine's disk.
    spool_limit : int
        Bytes that tasks and results waiting here may take on this machine's disk; no task is accepted
        above nine tenths of it.

    allow_requirements : bool
        Let a call that requires packages which are not here have an environment with them, built by pip
        or uv below the endpoint's directory. Whoever may submit can run any code all the same.
    environments_kept : int
        How many of these environments are kept, those that were used last.

    Raises
    ------
    ConfigError
        If a value cannot be used or two of them exclude each other.
    """

    engine: Literal["htex", "processes"] = "htex"
    provider: Any = None
    launcher: Any = None
    executors: Sequence[Any] = ()
    parsl_config: Any = None
    max_workers_per_node: int | None = None
    init_blocks: int = 1
    min_blocks: int = 0
    max_blocks: int = 1
    address: str | None = None
    worker_init: str = ""
    working_directory: str | None = None
    idle_seconds: float = 120.0
    session_idle_seconds: float = 1800.0
    drain_seconds: float = 30.0
    result_limit: int = 1_000_000_000
    object_cache_limit: int = 10_000_000_000
    spool_limit: int = 10_000_000_000
    allow_requirements: bool = False
    environments_kept: int = 5

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_exclusions()
        _check_directory(self.working_directory)
        if self.parsl_config is not None:
            object.__setattr__(self, "executors", tuple(self.parsl_config.executors))
        for executor in self.executors:
            _check_executor(executor)
        if self.launcher is not None:
            self.provider.launcher = self.launcher

    def _check_numbers(self) -> None:
        if self.engine not in ("htex", "processes"):
            raise ConfigError(f'engine must be "htex" or "processes", not {self.engine!r}.')
        if self.max_workers_per_node is not None:
            _check_number("max_workers_per_node", self.max_workers_per_node, at_least=1)
        for name in ("init_blocks", "min_blocks", "idle_seconds", "session_idle_seconds", "drain_seconds"):
            _check_number(name, getattr(self, name), at_least=0)
        if not isinstance(self.allow_requirements, bool):
            raise ConfigError(f"allow_requirements must be True or False, not {self.allow_requirements!r}.")
        limits = ("result_limit", "object_cache_limit", "spool_limit")
        for name in ("max_blocks", "environments_kept", *limits):
            _check_number(name, getattr(self, name), at_least=1)
        if not self.min_blocks <= self.max_blocks or not self.init_blocks <= self.max_blocks:
            raise ConfigError(f"min_blocks and init_blocks must not be over max_blocks ({self.max_blocks}).")

    def _check_exclusions(self) -> None:
        choices = {
            "provider": self.provider,
            "executors": self.executors or None,
            "parsl_config": self.parsl_config,
        }
        given = [name for name, value in choices.items() if value is not None]
        if len(given) > 1:
            raise ConfigError(f"{' and '.join(given)} exclude each other; give one of them.")
        if given and self.engine == "processes":
            raise ConfigError(f'engine="processes" runs on this machine without Parsl; leave out {given[0]}.')
        if self.launcher is not None and not hasattr(self.provider, "launcher"):
            raise ConfigError("launcher needs a provider that has one, such as SlurmProvider.")


#: What `load_config` returns; the engine reads its fields.
EndpointConfig: TypeAlias = Config


def load_config(path: Path) -> EndpointConfig:
    """Execute a config file and return what it defines as ``config``.

    Raises
    ------
    ConfigError
        If the file cannot be read or run, or ``config`` is missing or of another kind; the message
        names the file and the line.
    """
    source = _read(path)
    tree = _parse(source, path)
    namespace: dict[str, Any] = {"__name__": "funcx_lab_endpoint_user_config", "__file__": str(path)}
    try:
        exec(compile(tree, str(path), "exec"), namespace)  # noqa: S102  # the user's own file, run as the user
    except (Exception, SystemExit) as err:  # whatever the user's lines raise is told with its line
        line = _line_of(err, path)
        reason = str(err) if isinstance(err, ConfigError) else f"{type(err).__name__}: {err}"
        raise _at(path, line, reason) from err
    line = _assignment_line(tree)
    if "config" not in namespace:
        raise _at(path, None, 'no variable "config" is defined; write `config = Config(...)`.')
    try:
        return _as_config(namespace["config"])
    except ConfigError as err:
        raise _at(path, line, err.message) from err


def template(name: str, *, allow_requirements: bool = False) -> str:
    """Return the text of a new endpoint's config file."""
    return f'''"""Endpoint "{name}". After a change: funcx-endpoint restart {name}"""

from funcx_lab_endpoint.config import Config

config = Config(
    max_workers_per_node=None,  # None: one worker per core
    max_blocks=1,
    idle_seconds=120,  # give idle blocks back after two minutes
    allow_requirements={allow_requirements},  # True: calls may have packages of their own installed
    # On a batch system, say where nodes come from instead (any Parsl provider):
    # provider=SlurmProvider(partition="debug", nodes_per_block=1, max_blocks=4, walltime="01:00:00"),
)
# `config` may also be any parsl.Config, unchanged.
'''


def _as_config(value: Any) -> Config:
    if isinstance(value, Config):
        return value
    # Somebody who made a parsl.Config has imported it; nobody else has to pay for it.
    parsl_config = sys.modules.get("parsl.config")
    if parsl_config is not None and isinstance(value, parsl_config.Config):
        return Config(parsl_config=value)
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    raise ConfigError(f'"config" must be a funcx_lab_endpoint Config or a parsl.Config, not {kind}.')


def _check_number(name: str, value: Any, *, at_least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < at_least:
        raise ConfigError(f"{name} must be a number of at least {at_least}, not {value!r}.")


def _check_directory(directory: Any) -> None:
    if directory is None:
        return
    if not isinstance(directory, str) or not directory.startswith(("/", "~")) or "\0" in directory:
        raise ConfigError(f'working_directory must be a path that starts with "/" or "~", not {directory!r}.')


def _check_executor(executor: Any) -> None:
    bases = {(cls.__module__.partition(".")[0], cls.__name__) for cls in type(executor).__mro__}
    if ("parsl", "ThreadPoolExecutor") in bases:
        raise ConfigError(
            "Parsl's ThreadPoolExecutor cannot be used: output of threads cannot be told apart and a "
            "thread cannot be killed. Use HighThroughputExecutor, or Config() for this machine."
        )
    if ("parsl", "ParslExecutor") not in bases:
        raise ConfigError(f"executors must be Parsl executors, not {type(executor).__name__}.")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"{path} cannot be read: {err}") from err


def _parse(source: str, path: Path) -> ast.Module:
    try:
        return ast.parse(source, str(path))
    except SyntaxError as err:
        raise _at(path, err.lineno, f"SyntaxError: {err.msg}") from err
    except ValueError as err:  # a null byte, before Python 3.12
        raise _at(path, None, str(err)) from err


def _assignment_line(tree: ast.Module) -> int | None:
    lines = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id == "config" and isinstance(node.ctx, ast.Store)
    ]
    return max(lines, default=None)


def _line_of(error: BaseException, path: Path) -> int | None:
    line, step = None, error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == str(path):
            line = step.tb_lineno
        step = step.tb_next
    return line


def _at(path: Path, line: int | None, reason: str) -> ConfigError:
    where = f"{path}, line {line}" if line is not None else str(path)
    return ConfigError(f"{where}: {reason}", details={"file": str(path), "line": line})
