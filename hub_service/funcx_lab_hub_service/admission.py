"""Whether there is room for more tasks: what each user and all together may have open, and the disk.

The numbers are kept in memory by the loop's thread: counted once from the store at start, then added to
at each submit and taken from when a submit added nothing or a task ends. A task is refused before it is
acknowledged, never afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from funcx_lab.errors import FuncxLabError, TooManyRequests
from funcx_lab.protocol.stream import NewTask

#: Seconds after which a refused task may be sent again.
RETRY_AFTER_S = 5.0


@dataclass(frozen=True, slots=True)
class Quotas:
    """How much may be accepted and not have ended; None for any number.

    Parameters
    ----------
    user_tasks, user_bytes : int, optional
        Tasks of one user, and the bytes of their arguments inside messages.
    all_tasks : int, optional
        Tasks of all users.
    """

    user_tasks: int | None = None
    user_bytes: int | None = None
    all_tasks: int | None = None

    @property
    def any(self) -> bool:
        """Whether anything is limited."""
        return any(limit is not None for limit in (self.user_tasks, self.user_bytes, self.all_tasks))


@dataclass(slots=True)
class _Account:
    tasks: int = 0
    size: int = 0


@dataclass(slots=True)
class Admission:
    """Let tasks in while there is room.

    Parameters
    ----------
    quotas : Quotas
        What is allowed.
    open_tasks : mapping
        By user: how many tasks are open and the bytes of their arguments.
    check_disk : callable
        Raises `StorageFull` when the disk has no room for anything new.
    """

    quotas: Quotas = field(default_factory=Quotas)
    open_tasks: dict[str, tuple[int, int]] = field(default_factory=dict)
    check_disk: Callable[[], None] = lambda: None
    _accounts: dict[str, _Account] = field(init=False)
    _total: int = field(init=False)
    _is_limited: bool = field(init=False)

    def __post_init__(self) -> None:
        self._is_limited = self.quotas.any
        self._accounts = {user: _Account(*numbers) for user, numbers in self.open_tasks.items()}
        self._total = sum(account.tasks for account in self._accounts.values())

    def admit(
        self,
        user: str,
        tasks: Sequence[NewTask],
        find_known: Callable[[Sequence[str]], Collection[str]],
    ) -> dict[str, FuncxLabError]:
        """Count the tasks in and return those for which there is no room.

        What is known already adds nothing and always passes; it is counted until `forget` is told so.

        Raises
        ------
        StorageFull
            If the disk has no room; nothing was counted.
        """
        self.check_disk()
        if not self._is_limited:
            return {}
        account = self._accounts.setdefault(user, _Account())
        size = sum(len(task.payload) for task in tasks)
        if self._fault(account, len(tasks), size) is None:
            self._add(account, len(tasks), size)
            return {}
        known = find_known([task.task_id for task in tasks])
        refused: dict[str, FuncxLabError] = {}
        for task in tasks:
            error = None if task.task_id in known else self._fault(account, 1, len(task.payload))
            if error is None:
                self._add(account, 1, len(task.payload))
            else:
                refused[task.task_id] = error
        return refused

    def forget(self, user: str, sizes: Iterable[int]) -> None:
        """Take out tasks that ended or added nothing, by the bytes of their arguments."""
        if not self._is_limited:
            return
        account = self._accounts.setdefault(user, _Account())
        for size in sizes:
            self._add(account, -1, -size)

    def _add(self, account: _Account, n: int, size: int) -> None:
        account.tasks += n
        account.size += size
        self._total += n

    def _fault(self, account: _Account, n: int, size: int) -> FuncxLabError | None:
        quotas = self.quotas
        if quotas.user_tasks is not None and account.tasks + n > quotas.user_tasks:
            return _too_many(f"{account.tasks} of your tasks are open and {quotas.user_tasks} may be")
        if quotas.user_bytes is not None and account.size and account.size + size > quotas.user_bytes:
            return _too_many(
                f"The arguments of your open tasks have {account.size} bytes and may have {quotas.user_bytes}"
            )
        if quotas.all_tasks is not None and self._total + n > quotas.all_tasks:
            return _too_many(f"{self._total} tasks of all users are open and {quotas.all_tasks} may be")
        return None


def _too_many(fact: str) -> TooManyRequests:
    return TooManyRequests(
        f"{fact}; nothing of this task was accepted. Send it again when others have ended.",
        details={"retry_after_s": RETRY_AFTER_S},
    )
