"""What a shell command left."""

from __future__ import annotations

from dataclasses import dataclass, field

_SHOWN_LINES = 10
_SHOWN_COMMAND = 100


@dataclass(frozen=True)
class ShellResult:
    """What a command left; its text is what it wrote to stdout.

    Attributes
    ----------
    returncode : int
        Its exit code; negative: the signal that ended the shell.
    stdout, stderr : str
        What it wrote, of each stream the last 1 MB.
    cmd : str
        The command as it ran.
    stdout_path, stderr_path : str or None
        Files at the endpoint that hold all it wrote, if they were asked for.
    directory : str or None
        Where it ran, a directory of the endpoint; None if that was its own and it left nothing there.
    seconds : float
        How long it ran.
    stdout_dropped, stderr_dropped : int
        Bytes that are missing at the beginning of ``stdout`` and ``stderr``.
    is_shown : bool
        Its output stands on the page already, so that its repr need not repeat it.
    """

    returncode: int
    stdout: str
    stderr: str
    cmd: str
    stdout_path: str | None = None
    stderr_path: str | None = None
    directory: str | None = None
    seconds: float = 0.0
    stdout_dropped: int = 0
    stderr_dropped: int = 0
    is_shown: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        return self.stdout

    def __repr__(self) -> str:
        lines = [f"exit code {self.returncode} after {self.seconds:.1f} s: {brief(self.cmd)}"]
        for name, text, dropped in (
            ("stdout", self.stdout, self.stdout_dropped),
            ("stderr", self.stderr, self.stderr_dropped),
        ):
            if dropped:
                lines.append(f"the first {dropped:,} bytes of {name} are not in it")
            if text and not self.is_shown:
                lines += [f"{name}:", *(f"  {line}" for line in last_lines(text, _SHOWN_LINES))]
        files = [path for path in (self.stdout_path, self.stderr_path) if path]
        return "\n".join([*lines, *([f"files: {', '.join(files)}"] if files else [])])


def brief(command: str) -> str:
    """Return the first line of a command, cut where it gets long."""
    first, _, rest = command.strip().partition("\n")
    return f"{first[:_SHOWN_COMMAND]} ..." if rest or len(first) > _SHOWN_COMMAND else first


def last_lines(text: str, count: int) -> list[str]:
    """Return the last lines of a text; the first one says how many are not shown."""
    lines = text.rstrip("\n").split("\n")
    if len(lines) <= count:
        return lines
    return [f"... {len(lines) - count + 1:,} lines before", *lines[1 - count :]]
