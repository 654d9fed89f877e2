"""`ShellFunction`: a shell command that is submitted like any function."""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from funcx_lab.errors import ShellError, UsageError, WalltimeReached
from funcx_lab.shell.process import run_program
from funcx_lab.shell.result import ShellResult, brief, last_lines
from funcx_lab.shell.template import Template

#: Directories that commands run in are made in this one.
PLACE = "funcx-shell"
#: Of each stream, so many characters are in a `ShellError`.
_TOLD = 10_000


class _Shell:
    """What shell functions have in common: where and how long they run, and what an exit code means."""

    def __init__(
        self,
        stdout: str | os.PathLike[str] | None,
        stderr: str | os.PathLike[str] | None,
        walltime: float | None,
        cwd: str | os.PathLike[str] | None,
        check: bool,
    ) -> None:
        self.stdout, self.stderr, self.cwd = (
            _path("stdout", stdout),
            _path("stderr", stderr),
            _path("cwd", cwd),
        )
        if walltime is not None and (isinstance(walltime, bool) or not walltime > 0):
            raise UsageError(f"walltime must be a number of seconds above 0, not {walltime!r}.")
        self.walltime, self.check = walltime, bool(check)

    def _run(self, command: str, names: Mapping[str, str] | None = None) -> ShellResult:
        try:
            result = self._result(command, {**os.environ, **(names or {})})
        except OSError as err:
            raise ShellError(
                f"The command {brief(command)!r} cannot be run on {platform.node()}: {err}",
                details={"cmd": command},
            ) from err
        if self.check and result.returncode:
            raise ShellError(_what_happened(result), details=_details(result))
        return result

    def _result(self, command: str, environment: Mapping[str, str]) -> ShellResult:
        with _place(self.cwd) as directory:
            stdout, stderr = (
                None if name is None else directory / name for name in (self.stdout, self.stderr)
            )
            ran = run_program(
                ["bash", "-c", command],
                directory=directory,
                environment=environment,
                walltime=self.walltime,
                stdout=stdout,
                stderr=stderr,
            )
        result = ShellResult(
            *(ran.returncode, ran.stdout, ran.stderr, command),
            None if stdout is None else str(stdout),
            None if stderr is None else str(stderr),
            str(directory) if directory.exists() else None,
            *(ran.seconds, ran.stdout_dropped, ran.stderr_dropped),
        )
        if ran.is_late:
            late = f"{brief(command)!r} reached its walltime of {self.walltime:g} s and was stopped."
            raise WalltimeReached(late, details=_details(result))
        return result


class ShellFunction(_Shell):
    """A shell command that is called, submitted and mapped like a function; it returns a `ShellResult`.

    ``bash -c`` runs it in a new directory below the working directory. Its lines appear in the task's
    output as they come. What it leaves running is ended with it; so is all of it when the task is
    cancelled or reaches a walltime.

    Parameters
    ----------
    command : str
        With ``{placeholders}`` for the arguments of a call. A value is put in as one word, quoted for the
        shell; a list as one word for each item. Write ``{{`` and ``}}`` for braces of the shell's own.
    stdout, stderr : path, optional
        Files that get all it writes, relative to where it runs.
    walltime : float, optional
        Stop it after so many seconds, with `WalltimeReached`.
    cwd : path, optional
        Run it in this directory of the endpoint instead; ``~`` is the home directory there.
    check : bool
        Raise `ShellError` when its exit code is not 0.

    Raises
    ------
    UsageError
        If the command or an option cannot be used.

    Examples
    --------
    >>> align = ShellFunction("bwa mem {ref} {reads} > out.sam", walltime=3600)
    >>> future = fxc.submit(align, "hg38.fa", reads=["a.fq", "b.fq"], endpoint="cluster")
    >>> future.result().returncode
    0
    """

    def __init__(
        self,
        command: str,
        *,
        stdout: str | os.PathLike[str] | None = None,
        stderr: str | os.PathLike[str] | None = None,
        walltime: float | None = None,
        cwd: str | os.PathLike[str] | None = None,
        check: bool = False,
    ) -> None:
        super().__init__(stdout, stderr, walltime, cwd, check)
        self._template = Template(command)
        self.__name__ = _name_of(command)

    @property
    def command(self) -> str:
        """The command with its placeholders."""
        return self._template.text

    def __repr__(self) -> str:
        return f"ShellFunction({self.command!r})"

    def __call__(self, *args: Any, **kwargs: Any) -> ShellResult:
        """Run the command here.

        Raises
        ------
        UsageError
            If the values do not fit the placeholders.
        WalltimeReached
            If it ran too long.
        ShellError
            If it cannot be started or, with ``check``, if its exit code is not 0.
        """
        return self._run(self._template.fill(args, kwargs))


class ShellScript(_Shell):
    """A bash script whose arguments are environment variables; nothing is put into its text.

    Parameters
    ----------
    text : str
        The script.
    """

    def __init__(self, text: str) -> None:
        super().__init__(None, None, None, None, False)
        self.text = text
        self.__name__ = "script"

    def __call__(self, **names: str) -> ShellResult:
        """Run the script with these variables.

        Raises
        ------
        ShellError
            If it cannot be started.
        """
        return self._run(self.text, names)


@contextlib.contextmanager
def _place(cwd: str | None) -> Iterator[Path]:
    """Give the directory to run in; one of its own goes again when nothing was left in it."""
    if cwd is not None:
        yield Path(cwd).expanduser().absolute()
        return
    directory = Path.cwd() / PLACE / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(4).hex()}"
    directory.mkdir(parents=True)
    try:
        yield directory
    finally:
        with contextlib.suppress(OSError):  # not empty
            directory.rmdir()  # the parent stays: another command may be about to use it


def _path(name: str, value: Any) -> str | None:
    if value is None:
        return None
    try:
        path = os.fspath(value)
    except TypeError:
        path = b""
    if not isinstance(path, str) or not path or "\0" in path:
        raise UsageError(f"{name} must be a path, not {value!r:.80}.")
    return path


def _name_of(command: str) -> str:
    try:
        words = shlex.split(command, comments=True)
    except ValueError:
        words = command.split()
    return os.path.basename(words[0])[:80] if words else "shell"


def _what_happened(result: ShellResult) -> str:
    told = last_lines(result.stderr or result.stdout, 10)
    return "\n".join([f"{brief(result.cmd)!r} ended with exit code {result.returncode}.", *told])


def _details(result: ShellResult) -> dict[str, Any]:
    return {
        "cmd": result.cmd[-_TOLD:],
        "returncode": result.returncode,
        "stdout": result.stdout[-_TOLD:],
        "stderr": result.stderr[-_TOLD:],
        "directory": result.directory,
    }
