"""Who looks at a page: a browser with a session, or a program that shows a token as everywhere else."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from funcx_lab.errors import FuncxLabError, NotAuthorized

if TYPE_CHECKING:
    import tornado.httputil

    from funcx_lab_hub_service.auth.principals import Principal
    from funcx_lab_hub_service.auth.sessions import Session
    from funcx_lab_hub_service.config import ServiceConfig
    from funcx_lab_hub_service.handlers.services import Services

#: The header that carries a session's second secret: a page of ours reads it in a cookie, others cannot.
XSRF_HEADER = "X-XSRFToken"
_SAFE = ("GET", "HEAD")


async def page_principal(services: Services, request: tornado.httputil.HTTPServerRequest) -> Principal | None:
    """Return who asks for a page or its WebSocket; None if nobody is logged in.

    The token of the ``Authorization`` header counts when there is one, else the session's cookie. None,
    too, for an address that is not ours and for what a page of another origin asks with our cookie.
    """
    if request.headers.get("Host", "").lower() not in services.hosts:
        return None
    try:
        token = _token(services, request)
        asking = services.tokens.renew(token)
        if asking is not None:
            await asking
        return services.tokens.verify(token)
    except FuncxLabError:
        return None


def session_of(services: Services, request: tornado.httputil.HTTPServerRequest) -> Session | None:
    """Return the session of a request's cookie; None if there is none.

    Raises
    ------
    NotAuthorized
        If there is one, but a page of another origin may be behind the request.
    """
    morsel = request.cookies.get(cookie_name(services.config))
    session = None if morsel is None else services.sessions.find(morsel.value)
    if session is None:
        return None
    if not _is_own_page(services, request):
        raise NotAuthorized("A page of another origin may not use this browser's session.")
    shown = request.headers.get(XSRF_HEADER, "")
    if request.method not in _SAFE and not hmac.compare_digest(shown.encode(), session.xsrf.encode()):
        raise NotAuthorized(f"The header {XSRF_HEADER} must say what the cookie `...-xsrf` says.")
    return session


def cookie_name(config: ServiceConfig) -> str:
    """Return the name of the session's cookie: services on ports of one host share the browser's jar."""
    return f"funcx-lab-{hashlib.sha256(str(config.data).encode()).hexdigest()[:8]}"


def xsrf_cookie_name(config: ServiceConfig) -> str:
    """Return the name of the cookie with the second secret; ``_xsrf`` is a Jupyter server's on this host."""
    return f"{cookie_name(config)}-xsrf"


def login_address(services: Services, request: tornado.httputil.HTTPServerRequest) -> str:
    """Return the path that logs a browser in and leads back to what it asked for."""
    return f"{services.config.prefix}/login?next={quote(request.uri or '', safe='')}"


def own_path(config: ServiceConfig, path: str) -> str:
    """Return ``path`` if it leads into this service, else the path of its dashboards.

    Nobody is sent elsewhere by a link to the login page.
    """
    good = path.startswith(f"{config.prefix}/") and not path.startswith("//")
    if good and path.isascii() and path.isprintable() and not set(path) & {"\\", " "}:
        return path
    return f"{config.prefix}/dash/"


def _token(services: Services, request: tornado.httputil.HTTPServerRequest) -> str:
    header = request.headers.get("Authorization")
    if header is None:
        session = session_of(services, request)
        return "" if session is None else session.token
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() in ("bearer", "token") else ""


def _is_own_page(services: Services, request: tornado.httputil.HTTPServerRequest) -> bool:
    """Whether a page of ours asks, or a person who follows a link; a WebSocket always has an origin."""
    origin = request.headers.get("Origin")
    if origin is not None:
        return urlsplit(origin).netloc.lower() in services.hosts
    if request.headers.get("Upgrade", "").lower() == "websocket":
        return False
    site = request.headers.get("Sec-Fetch-Site", "none")
    navigates = request.method == "GET" and request.headers.get("Sec-Fetch-Mode", "") == "navigate"
    return site in ("none", "same-origin") or navigates
