"""docs/reliability.md: one section per command, each rewritten by its command alone."""

from __future__ import annotations

import os
import platform
import re
import statistics
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import funcx_lab
from chaos.records import CAREFUL

if TYPE_CHECKING:
    from chaos.run import Result

PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"
_HEAD = "## "


def write(page: Path, title: str, text: str) -> None:
    """Print a section and put it into the page in place of the one of that title, else at its end."""
    print(f"{_HEAD}{title}\n\n{text.strip()}", flush=True)
    page.write_text(replaced(page.read_text() if page.exists() else "", title, text))


def replaced(page: str, title: str, text: str) -> str:
    """Return ``page`` with a section of its own for ``title``."""
    section = f"{_HEAD}{title}\n\n{text.strip()}\n"
    pattern = re.compile(rf"^{_HEAD}{re.escape(title)}\n.*?(?=^{_HEAD}|\Z)", re.MULTILINE | re.DOTALL)
    if pattern.search(page):
        whole = pattern.sub(lambda _: section + "\n", page)
    else:
        whole = f"{page.rstrip()}\n\n{section}"
    return whole.strip() + "\n"


def random_kills(result: Result) -> str:
    """Return the section of a run with random faults."""
    settings, verdict = result.settings, result.verdict
    network = f" --cuts {settings.cuts} --resets {settings.resets} --one-way-cuts {settings.one_way_cuts}"
    network = network if settings.needs_namespace else ""
    command = (
        f"make chaos KILLS={settings.kills} TASKS={settings.tasks} SEED={settings.seed}"
        f' ARGS="--freezes {settings.freezes} --workers {settings.workers}{network}"'
    )
    rows = [
        "| fault | times | recovery, median s | worst s | longest silence s |",
        "|---|---:|---:|---:|---:|",
    ]
    for name in sorted({fault.name for fault in result.faults}):
        faults = [fault for fault in result.faults if fault.name == name]
        known = [fault.recovery for fault in faults if fault.recovery is not None]
        figures = f"{statistics.median(known):.1f} | {max(known):.1f}" if known else "– | –"
        silence = max(fault.silence for fault in faults)
        rows.append(f"| {name} | {len(faults)} | {figures} | {silence:.1f} |")
    complaints = "\n".join(f"* {line}" for line in verdict.complaints()[:50])
    return f"""`{command}`: tasks of 0 to {1000 * settings.longest_s:.0f} ms on {settings.workers} workers, \
{result.seconds / 60:.0f} minutes.

| tasks | acknowledged | executions | executions per task | lost | duplicated | changed | failed |
|---:|---:|---:|---:|---:|---:|---:|---:|
| {verdict.tasks} | {verdict.acknowledged} | {verdict.executions} \
| {verdict.executions / max(1, verdict.tasks):.3f} | {len(verdict.lost)} | {len(verdict.duplicated)} \
| {len(verdict.changed)} | {len(verdict.failed)} |

{chr(10).join(rows)}

* Recovery: from the end of the fault (a killed client's: its next start) until the client has seen the
  outcome of a run that began after it. A client that comes back hears all its earlier outcomes again first.
* Silence: the longest time from then to the next fault in which the client saw no outcome; tasks take up to
  {settings.longest_s:g} s, and at times only two are out.
* A freeze or a cut lasts 0.5 to {settings.longest_freeze_s:.0f} s.
* One task in {CAREFUL} has `at_most_once`; {verdict.unknown} of those ended as `LOST_UNKNOWN`.
* Submits that were never acknowledged and never arrived, as the client was killed: {verdict.forgotten}.
* Processes left over after the stop: {len(result.left)}.
{complaints}

{machine()}"""


def machine() -> str:
    """Return what it ran on."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("parsl", "pyzmq", "tornado"))
    return (
        f"Machine: {os.cpu_count()} × {model}, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}; funcx-lab {funcx_lab.__version__}, {versions}."
    )
