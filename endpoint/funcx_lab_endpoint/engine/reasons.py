"""Why calls wait, in words for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def why_calls_wait(report: Mapping[str, Any], trouble: str, engine_trouble: str, *, is_ready: bool) -> str:
    """Return why no session serves.

    Parameters
    ----------
    report : mapping
        The engine's last status.
    trouble : str
        Why sessions end before they are up, if they do.
    engine_trouble : str
        Why the last engine failed, if one did.
    is_ready : bool
        Whether the engine of now is ready.
    """
    if not is_ready:
        return f"engine is starting again: {engine_trouble}" if engine_trouble else "engine is starting"
    known = trouble or str(report.get("trouble", ""))
    if known:
        return known
    blocks = report.get("blocks", {})
    for block, facts in blocks.items():
        job = f" (job {facts['job']})" if facts["job"] else ""
        return f"block {block} {facts['state']}{job} {facts['reason']}".rstrip()
    return "workers are starting"
