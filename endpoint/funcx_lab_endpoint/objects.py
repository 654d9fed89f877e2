"""Large payloads: fetched before a call, stored after it; in a few threads, never in the agent's loop."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from urllib3.exceptions import HTTPError

from funcx_lab.errors import (
    FuncxLabError,
    HashMismatch,
    NotAuthenticated,
    NotFound,
    ObjectNotFound,
    ServiceUnavailable,
    TransportError,
)
from funcx_lab.protocol.messages import ErrorInfo, ObjectRef
from funcx_lab.transport import Transport
from funcx_lab_endpoint.instructions import Fetch, Fetched, Kept, ObjectFact, Upload, Uploaded
from funcx_lab_endpoint.result_files import KEPT_DAYS

log = logging.getLogger(__name__)

T = TypeVar("T")

_THREADS = 4
_STRIPES = 16
_BLOCK = 1024 * 1024
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0
#: The hub service may come back; everything else that it says stays said.
_TRY_AGAIN = (TransportError, ServiceUnavailable, NotAuthenticated)
_DAMAGED_LIMIT = 3


class ObjectStore:
    """Files named by their SHA-256, and the traffic with the hub service for them.

    Parameters
    ----------
    directory : Path
        Where fetched objects are kept.
    limit : int
        Bytes they may take; the least recently used go first.
    transport : callable
        Returns HTTP access with the agent's token; called in the store's threads.
    wake : callable
        Called from a thread when a fact is there.
    """

    def __init__(
        self, directory: Path, limit: int, transport: Callable[[], Transport], wake: Callable[[], None]
    ) -> None:
        directory.mkdir(mode=0o700, exist_ok=True)
        self._directory = directory
        self._limit = limit
        self._transport = transport
        self._wake = wake
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="objects")
        self._facts: deque[ObjectFact] = deque()
        self._locks = [threading.Lock() for _ in range(_STRIPES)]
        self._wanted: dict[str, str] = {}
        self._guard = threading.Lock()
        self._stopping = threading.Event()
        for left_over in directory.glob(".part-*"):
            left_over.unlink(missing_ok=True)

    def fetch(self, order: Fetch) -> None:
        """Bring an object here and keep it until `release`; `facts` tells the end."""
        self._wanted[order.task_id] = order.reference.sha256

        def fail(error: ErrorInfo) -> ObjectFact:
            return Fetched(order.task_id, order.tag, error=error)

        self._pool.submit(self._work, lambda: self._fetch(order), fail)

    def upload(self, order: Upload) -> None:
        """Store a result file at the hub service; `facts` tells when it is safe here, and the end."""

        def fail(error: ErrorInfo) -> ObjectFact:
            return Uploaded(order.task_id, order.execution, order.outcome, error=error)

        self._pool.submit(self._work, lambda: self._upload(order), fail)

    def release(self, task_id: str) -> None:
        """Let the object that was fetched for this task go when space is needed."""
        self._wanted.pop(task_id, None)

    def facts(self) -> Iterator[ObjectFact]:
        """Yield what ended since the last call."""
        while self._facts:
            yield self._facts.popleft()

    def stop(self) -> None:
        """Give up what is under way."""
        self._stopping.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _work(self, job: Callable[[], ObjectFact | None], fail: Callable[[ErrorInfo], ObjectFact]) -> None:
        try:
            fact = job()
        except Exception as err:  # a thread's edge: its future is read by nobody, and the task must end
            log.exception("an object's transfer failed")
            fact = fail(ErrorInfo("TASK_ERROR", f"An object's transfer failed at the endpoint: {err!r}"))
        if fact is not None:
            self._tell(fact)

    def _tell(self, fact: ObjectFact) -> None:
        self._facts.append(fact)
        self._wake()

    # --- fetch --------------------------------------------------------------------------------------

    def _fetch(self, order: Fetch) -> Fetched | None:
        if order.task_id not in self._wanted:  # cancelled meanwhile
            return None
        try:
            path = self._persist(lambda: self._bring(order.reference))
        except FuncxLabError as err:
            return Fetched(order.task_id, order.tag, error=ErrorInfo(err.code, err.message))
        except OSError as err:
            message = f"The arguments could not be written at the endpoint: {err}"
            return Fetched(order.task_id, order.tag, error=ErrorInfo("STORAGE_FULL", message))
        return Fetched(order.task_id, order.tag, path) if path else None

    def _bring(self, reference: ObjectRef) -> Path:
        if not _is_digest(reference.sha256):
            raise ObjectNotFound(f"{reference.sha256[:80]!r} cannot be the name of an object.")
        path = self._directory / reference.sha256
        with self._locks[
            int(reference.sha256[:4], 16) % _STRIPES
        ]:  # many tasks may want the same object at once
            if path.exists() and path.stat().st_size == reference.size:
                os.utime(path)
                return path
            for attempt in range(_DAMAGED_LIMIT):
                try:
                    self._download(reference, path)
                    break
                except HashMismatch:
                    if attempt == _DAMAGED_LIMIT - 1:
                        raise
        self._shrink(keep=path)
        return path

    def _download(self, reference: ObjectRef, path: Path) -> None:
        response = self._transport().request("GET", f"/v3/objects/{reference.sha256}", stream=True)
        part = path.with_name(f".part-{reference.sha256}")
        digest, size = hashlib.sha256(), 0
        try:
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                for block in response.stream(_BLOCK):
                    digest.update(block)
                    size += len(block)
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())  # a later life trusts what it finds under this name
            if digest.hexdigest() != reference.sha256 or size != reference.size:
                raise HashMismatch(
                    f"Object {reference.sha256} came with other bytes ({size} of {reference.size}); "
                    "the task was not run."
                )
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
            response.release_conn()

    def _shrink(self, keep: Path) -> None:
        """Delete the least recently used objects above the limit that no task waits for."""
        with self._guard:
            wanted = set(dict(self._wanted).values())
            paths = [path for path in self._directory.iterdir() if _is_digest(path.name)]
            files = [(path.stat().st_mtime, path.stat().st_size, path) for path in paths]
            total = sum(size for _, size, _ in files)
            for _, size, path in sorted(files):
                if total <= self._limit:
                    break
                if path != keep and path.name not in wanted:
                    path.unlink(missing_ok=True)
                    total -= size

    # --- upload -------------------------------------------------------------------------------------

    def _upload(self, order: Upload) -> Uploaded | None:
        try:
            _sync(order.path)
            self._tell(Kept(order.task_id, order.execution))
            reference = self._persist(lambda: self._send(order.path))
        except FuncxLabError as err:
            error = ErrorInfo(
                err.code,
                f"The result could not be stored: {err.message} "
                f"It is kept at the endpoint for {KEPT_DAYS} days in {order.path}.",
            )
            return Uploaded(order.task_id, order.execution, order.outcome, error=error)
        except OSError as err:
            error = ErrorInfo("WORKER_LOST", f"The result's file cannot be read: {err}")
            return Uploaded(order.task_id, order.execution, order.outcome, error=error)
        if reference is None:
            return None
        return Uploaded(order.task_id, order.execution, order.outcome, reference)

    def _send(self, path: Path) -> ObjectRef:
        blocks = _Blocks(path)
        digest = hashlib.sha256()
        for block in blocks:
            digest.update(block)
        reference = ObjectRef(digest.hexdigest(), path.stat().st_size)
        address = f"/v3/objects/{reference.sha256}"
        transport = self._transport()
        try:
            transport.request("HEAD", address)
        except NotFound:  # or not for us to see
            headers = {"Content-Length": str(reference.size), "Content-Type": "application/octet-stream"}
            transport.request("PUT", address, blocks, headers=headers)
        return reference

    # --- both ---------------------------------------------------------------------------------------

    def _persist(self, attempt: Callable[[], T]) -> T | None:
        """Return what ``attempt`` returns, however long the hub service is away; None when stopped."""
        pause = _FIRST_PAUSE_S
        while not self._stopping.is_set():
            try:
                return attempt()
            except (*_TRY_AGAIN, HTTPError) as err:
                log.info("an object's transfer is tried again: %s", err)
            self._stopping.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
        return None


def _sync(path: Path) -> None:
    """Make a file and its name outlive a power cut."""
    for each in (path, path.parent):
        descriptor = os.open(each, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _is_digest(name: str) -> bool:
    return len(name) == 64 and set(name) <= set("0123456789abcdef")


class _Blocks:
    """The blocks of a file, any number of times."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[bytes]:
        with open(self._path, "rb") as file:
            while block := file.read(_BLOCK):
                yield block
