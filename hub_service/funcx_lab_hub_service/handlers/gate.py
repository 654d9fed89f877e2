"""What every request passes on its way in: rates, what is written down of strangers, and the way out."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from funcx_lab.errors import (
    FuncxLabError,
    NotAuthenticated,
    NotAuthorized,
    ServiceUnavailable,
    TooManyRequests,
)
from funcx_lab_hub_service.limits import Buckets

if TYPE_CHECKING:
    from funcx_lab_hub_service.audit import Audit
    from funcx_lab_hub_service.auth.principals import Principal

#: Wrong tokens from one address: so many a second, and at once.
FAILURE_RATE, FAILURE_BURST = 5.0, 100
#: A client that meets a stopping service comes back after this many seconds.
_COME_BACK_S = 2.0


class Gate:
    """Lets requests in, or says why not.

    Parameters
    ----------
    audit : Audit
        Where those who are not let in are written down.
    rate : float
        Requests a second that one user or agent may make in the long run; 0 for any number.
    burst : int
        Requests at once after a pause.
    damage : str
        What is wrong with the database, which is only read then.
    notice : str
        What people should know of the database though nothing is wrong with it.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        audit: Audit,
        rate: float,
        burst: int,
        *,
        damage: str = "",
        notice: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._audit = audit
        self._clock = clock
        self._requests = Buckets(rate, burst)
        self._failures = Buckets(FAILURE_RATE, FAILURE_BURST)
        self.damage, self.notice = damage, notice
        #: whether the service is on its way out
        self.stopping = False
        #: requests that are being answered
        self.busy: set[object] = set()

    def check_open(self) -> None:
        """Turn away everybody while the service stops.

        Raises
        ------
        ServiceUnavailable
            If it does.
        """
        if self.stopping:
            raise ServiceUnavailable(
                "The hub service is stopping; nothing was accepted. Send this again in a moment.",
                details={"retry_after_s": _COME_BACK_S},
            )

    def check_rate(self, principal: Principal) -> None:
        """Count a request of ``principal``.

        Raises
        ------
        TooManyRequests
            If it comes too soon after others.
        """
        wait_s = self._requests.take((principal.user, principal.endpoint_id), self._clock())
        if wait_s:
            raise TooManyRequests(
                f"Too many requests of {principal.user!r}; send this again in {wait_s:.2f} s, or send more "
                "tasks in one request.",
                details={"retry_after_s": round(wait_s, 3)},
            )

    def turn_away(self, error: FuncxLabError, address: str, what: str) -> FuncxLabError:
        """Write down a stranger and return what to answer."""
        if not isinstance(error, NotAuthenticated | NotAuthorized):
            return error
        self._audit.denied(address, error.code, what)
        if not isinstance(error, NotAuthenticated):
            return error
        wait_s = self._failures.take(address, self._clock())
        if not wait_s:
            return error
        return TooManyRequests(
            "Too many wrong tokens from this address; wait, then send a good one.",
            details={"retry_after_s": round(wait_s, 3)},
        )
