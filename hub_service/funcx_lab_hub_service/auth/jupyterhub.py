"""Who JupyterHub says somebody is: its tokens, verified with it and known for some seconds."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

import tornado.web
from jupyterhub.services.auth import HubOAuth, check_scopes

from funcx_lab.errors import (
    FuncxLabError,
    NotAuthenticated,
    NotAuthorized,
    ServiceUnavailable,
    TooManyRequests,
)
from funcx_lab_hub_service.auth.principals import SCOPES, Principal
from funcx_lab_hub_service.limits import Buckets

logger = logging.getLogger(__name__)

#: JupyterHub has so many seconds for an answer. While it gives none, what it said last counts for so many.
ANSWER_S, GRACE_S = 10.0, 120.0
#: Tokens that were never seen: so many a second are asked for, and at once.
STRANGER_RATE, STRANGER_BURST = 20.0, 200
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{8,256}")
_CACHE_LIMIT = 10_000


@dataclasses.dataclass
class _Known:
    """What is known of one token."""

    #: when JupyterHub was asked last and when it answered last, monotonic seconds
    asked: float
    answered: float
    principal: Principal | None = None
    error: FuncxLabError = dataclasses.field(default_factory=NotAuthenticated)


class JupyterHub:
    """The JupyterHub that this is a service of.

    Parameters
    ----------
    oauth : HubOAuth, optional
        How to ask it; configured by the environment that it gives its services when left out.
    fresh_s : float
        A token is asked for again after so many seconds: a revocation, a new group and a new scope are
        seen within them.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        oauth: HubOAuth | None = None,
        *,
        fresh_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.oauth = HubOAuth() if oauth is None else oauth
        self._fresh_s = fresh_s
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._strangers = Buckets(STRANGER_RATE, STRANGER_BURST)

    def renew(self, token: str) -> Awaitable[None] | None:
        """Ask for a token that is not fresh; return what to wait for, None if `verify` can answer now.

        Raises
        ------
        TooManyRequests
            If too many tokens that nobody has seen are shown.
        """
        now = self._clock()
        known = self._known.get(token)
        if known is not None and now - known.asked < self._fresh_s / 2:
            return None
        asking = self._asking.get(token)
        if asking is None:
            if not _TOKEN.fullmatch(token):
                return None
            if known is None:
                self._count_stranger(now)
            asking = self._asking[token] = asyncio.create_task(self._ask(token), name="ask-jupyterhub")
            asking.add_done_callback(lambda _: self._asking.pop(token, None))
        # What is half old is asked for while it still counts, so that hardly anybody waits.
        if known is not None and known.principal is not None and now - known.asked < self._fresh_s:
            return None
        return asyncio.shield(asking)

    def verify(self, token: str) -> Principal:
        """Return who shows ``token``; `renew` must have been done.

        Raises
        ------
        NotAuthenticated
            If JupyterHub does not know it.
        NotAuthorized
            If it may not use this service.
        ServiceUnavailable
            If JupyterHub does not answer.
        """
        known = self._known.get(token)
        if known is None or self._clock() - known.asked > 2 * self._fresh_s + ANSWER_S:
            raise NotAuthenticated
        if known.principal is None:
            raise known.error
        return known.principal

    async def token_for_code(self, code: str, verifier: str | None) -> str:
        """Return the token at the end of a login.

        Raises
        ------
        NotAuthenticated
            If JupyterHub does not give one.
        """
        try:
            asking = self.oauth.token_for_code(code, code_verifier=verifier, sync=False)
            return str(await asyncio.wait_for(asking, ANSWER_S))
        except (tornado.web.HTTPError, asyncio.TimeoutError) as err:
            logger.warning("a login was not completed by JupyterHub: %s", err)
            raise NotAuthenticated("JupyterHub did not complete the login; try again.") from err

    async def stop(self) -> None:
        """Ask no more."""
        for task in list(self._asking.values()):
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)

    def _count_stranger(self, now: float) -> None:
        wait_s = self._strangers.take("strangers", now)
        if wait_s:
            raise TooManyRequests(
                "Too many new tokens at once; send this again in a moment.",
                details={"retry_after_s": round(wait_s, 3)},
            )

    async def _ask(self, token: str) -> None:
        asked = self._clock()
        try:
            asking = self.oauth.user_for_token(token, use_cache=False, sync=False)
            model = await asyncio.wait_for(asking, ANSWER_S)
        except (tornado.web.HTTPError, asyncio.TimeoutError) as err:
            self._keep(token, self._without_answer(token, asked, err))
            return
        known = _Known(asked, self._clock())
        try:
            known.principal = principal_of(model, self.oauth.access_scopes)
        except FuncxLabError as err:
            known.error = err
        self._keep(token, known)

    def _without_answer(self, token: str, asked: float, error: Exception) -> _Known:
        """Let the last answer count a while: JupyterHub restarts now and then."""
        logger.warning("JupyterHub does not say who shows a token: %s", str(error) or type(error).__name__)
        known = self._known.get(token)
        if known is not None and known.principal is not None and asked - known.answered < GRACE_S:
            return _Known(asked, known.answered, known.principal)
        waiting = ServiceUnavailable(
            "JupyterHub does not answer, so nobody can be let in; send this again in a moment.",
            details={"retry_after_s": self._fresh_s},
        )
        return _Known(asked, 0.0, error=waiting)

    def _keep(self, token: str, known: _Known) -> None:
        if len(self._known) >= _CACHE_LIMIT and token not in self._known:
            del self._known[next(iter(self._known))]
        self._known[token] = known


def principal_of(model: dict[str, Any] | None, access: set[str]) -> Principal:
    """Return whom JupyterHub's answer names.

    Parameters
    ----------
    model : dict or None
        What ``GET /hub/api/user`` answers; None for an unknown token.
    access : set of str
        Scopes of which one lets in.

    Raises
    ------
    NotAuthenticated
        If it names nobody.
    NotAuthorized
        If it is no person, or one who may not use this service.
    """
    if model is None:
        raise NotAuthenticated
    name = str(model["name"])
    if model.get("kind", "user") != "user":
        raise NotAuthorized(f"{name!r} is a service of JupyterHub; only people have tasks here.")
    scopes = frozenset(model.get("scopes") or ())
    if access and not check_scopes(access, scopes):
        raise NotAuthorized(
            f"{name!r} may not use this service: the token lacks the scope {' or '.join(sorted(access))}. "
            "An administrator of JupyterHub grants it with a role."
        )
    return Principal(name, groups=frozenset(model.get("groups") or ()), scopes=scopes & SCOPES)
