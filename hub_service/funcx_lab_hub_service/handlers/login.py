"""Browsers come and go: by JupyterHub's OAuth, or by a one-time code that `funcx-lab dashboard` prints."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from tornado.httputil import url_concat

from funcx_lab.errors import FuncxLabError, NotAuthenticated
from funcx_lab_hub_service.auth.pages import cookie_name, login_address, own_path, xsrf_cookie_name
from funcx_lab_hub_service.auth.principals import READ
from funcx_lab_hub_service.auth.sessions import CODE_S, SESSION_S
from funcx_lab_hub_service.handlers.base import Guard, Handler

if TYPE_CHECKING:
    from funcx_lab_hub_service.auth.jupyterhub import JupyterHub

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body><main><h1>{title}</h1><p>{text}</p></main></body></html>
"""


class PageHandler(Handler):
    """A route that people see in a browser."""

    def page(self, status: int, title: str, text: str) -> None:
        """Answer a page of plain text."""
        self.set_status(status)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'self'")
        self.finish(_PAGE.format(title=escape(title), text=escape(text)))

    def begin_session(self, token: str) -> None:
        """Give the browser a session for ``token``."""
        secret, session = self.services.sessions.open(token)
        self._set(cookie_name(self.services.config), secret, "Lax", httponly=True)
        self._set(xsrf_cookie_name(self.services.config), session.xsrf, "Strict", httponly=False)
        user = self.services.tokens.verify(token).user
        self.services.audit.note("page-login", user=user, address=str(self.request.remote_ip))

    def _set(self, name: str, value: str, samesite: str, *, httponly: bool) -> None:
        self.set_cookie(
            name,
            value,
            path=f"{self.services.config.prefix}/",
            max_age=int(SESSION_S),
            secure=self.request.protocol == "https",
            httponly=httponly,
            samesite=samesite,
        )


class IndexHandler(PageHandler):
    """The service's own address."""

    for_pages = True

    def refuse(self, error: FuncxLabError) -> None:
        """Send a stranger to JupyterHub's login, where there is one."""
        super().refuse(error)
        if isinstance(error, NotAuthenticated) and self.services.hub is not None:
            self.get = self._log_in  # type: ignore[method-assign]  # as every refusal does

    def _log_in(self) -> None:
        self.redirect(login_address(self.services, self.request))

    def get(self) -> None:
        """Lead to the dashboards."""
        self.redirect(f"{self.services.config.prefix}/dash/")


class LoginHandler(PageHandler):
    """Log a browser in."""

    public = True

    def get(self) -> None:
        """Take a one-time code, or send to JupyterHub; else say how to get in."""
        target = own_path(self.services.config, self.get_query_argument("next", ""))
        code = self.get_query_argument("code", "")
        if code:
            self._redeem(code, target)
        elif self.services.hub is not None:
            self._send_to_hub(self.services.hub, target)
        else:
            text = "Run `funcx-lab dashboard` in a terminal and open the address that it prints."
            self.page(NotAuthenticated.status, "Not logged in", text)

    def _redeem(self, code: str, target: str) -> None:
        token = self.services.sessions.redeem(code)
        try:
            if token is None:
                raise NotAuthenticated("This address was used already, or is older than five minutes.")
            self.begin_session(token)
        except FuncxLabError as err:
            error = self.turned_away(err)
            text = f"{error.message} Run `funcx-lab dashboard` again for a new one."
            self.page(error.status, "Not logged in", text)
            return
        self.redirect(target)

    def _send_to_hub(self, hub: JupyterHub, target: str) -> None:
        verifier, challenge, method = hub.oauth.generate_pkce_code_challenge()
        state = hub.oauth.set_state_cookie(self, next_url=target, code_verifier=verifier)
        asked = {"code_challenge": challenge, "code_challenge_method": method, "state": state}
        self.redirect(url_concat(hub.oauth.login_url, asked))


class CallbackHandler(PageHandler):
    """Where JupyterHub sends a browser back to."""

    public = True

    async def get(self) -> None:
        """Exchange JupyterHub's code for a token, which stays here, and give the browser a session."""
        try:
            target = await self._log_in()
        except FuncxLabError as err:
            error = self.turned_away(err)
            self.page(error.status, "Not logged in", error.message)
            return
        self.redirect(target)

    async def _log_in(self) -> str:
        hub, state = self.services.hub, self.get_query_argument("state", "")
        if hub is None:
            raise NotAuthenticated("This hub service is no service of a JupyterHub.")
        known = self.get_signed_cookie(hub.oauth.get_state_cookie_name(state)) if state else None
        if known is None or known.decode("ascii", "replace") != state:
            raise NotAuthenticated("This login was not begun in this browser, or too long ago; begin again.")
        target, verifier = hub.oauth.get_next_url(state), hub.oauth.get_code_verifier(state)
        hub.oauth.clear_oauth_state(state)
        hub.oauth.clear_oauth_state_cookies(self)
        token = await hub.token_for_code(self.get_query_argument("code", ""), verifier)
        asking = self.services.tokens.renew(token)
        if asking is not None:
            await asking
        self.begin_session(token)
        return own_path(self.services.config, str(target))


class LogoutHandler(Handler):
    """End a browser's session."""

    for_pages = True
    write_scope = READ

    def post(self) -> None:
        """Forget the session; its token works on elsewhere."""
        name = cookie_name(self.services.config)
        self.services.sessions.close(self.get_cookie(name) or "")
        for cookie in (name, xsrf_cookie_name(self.services.config)):
            self.clear_cookie(cookie, path=f"{self.services.config.prefix}/")
        self.answer({"logged_out": True})


class LoginCodeHandler(Handler):
    """An address that logs one browser in."""

    write_scope = READ

    def post(self) -> None:
        """Answer a path with a one-time code; below JupyterHub none is needed."""
        config = self.services.config
        if self.services.hub is not None:
            self.answer({"path": "/dash/", "expires_s": None, "public_url": config.public_url or None})
            return
        code = self.services.sessions.new_code(self.token)
        self.answer({"path": f"/login?code={code}", "expires_s": CODE_S, "public_url": None})


routes = [("/v3/login-codes", LoginCodeHandler)]

#: for browsers, and no part of the REST interface
pages: list[tuple[str, type[Guard]]] = [
    ("/", IndexHandler),
    ("/login", LoginHandler),
    ("/oauth_callback", CallbackHandler),
    ("/logout", LogoutHandler),
]
