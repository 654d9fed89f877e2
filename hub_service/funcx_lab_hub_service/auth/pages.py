"""Who looks at a page: a browser, or a program that shows a token as everywhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from funcx_lab.errors import NotAuthenticated

if TYPE_CHECKING:
    import tornado.httputil

    from funcx_lab_hub_service.auth.principals import Principal
    from funcx_lab_hub_service.handlers.base import Services


async def page_principal(services: Services, request: tornado.httputil.HTTPServerRequest) -> Principal | None:
    """Return who asks for a page; None if nobody is logged in.

    The token of the ``Authorization`` header counts when there is one, else the session's cookie.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    try:
        return services.tokens.verify(token.strip())
    except NotAuthenticated:
        return None
