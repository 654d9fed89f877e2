"""A hub service that cannot go on ends: it must never look healthy without being so."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from typing import Any

logger = logging.getLogger(__name__)

#: EX_SOFTWARE of sysexits.h.
EXIT_STATUS = 70


def end_process(error: BaseException) -> None:
    """End at once with status 70: what was acknowledged is on disk, and whoever supervises starts anew."""
    logger.critical("The hub service cannot go on and ends: %r", error, exc_info=error)
    logging.shutdown()
    os._exit(EXIT_STATUS)


def end_with_threads() -> None:
    """End the process from now on when any of its threads dies of an exception."""

    def on_exception(arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_value is not None:
            end_process(arguments.exc_value)

    threading.excepthook = on_exception


def end_with(task: asyncio.Task[Any]) -> asyncio.Task[Any]:
    """End the process when ``task`` ends by an exception; return the task."""

    def on_done(done: asyncio.Task[Any]) -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            end_process(error)

    task.add_done_callback(on_done)
    return task
