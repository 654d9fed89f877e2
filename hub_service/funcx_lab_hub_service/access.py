"""Who may do what: the one place that decides."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from funcx_lab.errors import NotAuthorized
from funcx_lab_hub_service.auth.principals import ENDPOINTS, READ, SUBMIT

if TYPE_CHECKING:
    from funcx_lab_hub_service.auth.principals import Principal
    from funcx_lab_hub_service.store.shares import Share

Verb = Literal["read", "create", "submit", "cancel", "delete", "enrol", "share"]
#: What those with whom a thing is shared may do; its owner keeps the rest.
_SHARED: frozenset[Verb] = frozenset({"read", "submit"})
_WHAT = {
    READ: "look at anything here",
    SUBMIT: "submit, cancel or store anything",
    ENDPOINTS: "register, share or delete endpoints",
}


def may(
    principal: Principal,
    verb: Verb,
    owner: str,
    endpoint_id: str | None = None,
    shares: Iterable[Share] = (),
) -> bool:
    """Whether ``principal`` may do ``verb`` to what ``owner`` owns. Denied unless said here.

    A caller answers a denial to read exactly as if the thing did not exist.

    Parameters
    ----------
    principal : Principal
        Who asks.
    verb : str
        What is asked for.
    owner : str
        The user who owns the function, endpoint, task, group or object.
    endpoint_id : str, optional
        The endpoint that the thing is or belongs to: its agent may read it.
    shares : iterable of Share
        With whom the owner shares it.
    """
    if principal.kind == "user":
        if principal.user == owner:
            return True
        return verb in _SHARED and any(_holds(principal, share) for share in shares)
    return verb == "read" and endpoint_id is not None and endpoint_id == principal.endpoint_id


def may_create(principal: Principal, kind: Literal["function", "endpoint", "task", "object"]) -> bool:
    """Whether ``principal`` may make a new thing of this kind."""
    return principal.kind == "user" or kind == "object"


def check_scope(principal: Principal, scope: str) -> None:
    """Check that ``principal`` may do this kind of thing at all, to whomever it belongs.

    Raises
    ------
    NotAuthorized
        If JupyterHub has not granted it.
    """
    if scope not in principal.scopes:
        raise NotAuthorized(
            f"{principal.user!r} may not {_WHAT[scope]}: the token lacks the scope {scope}. "
            "An administrator of JupyterHub grants it with a role."
        )


def _holds(principal: Principal, share: Share) -> bool:
    return share.name == principal.user if share.holder == "user" else share.name in principal.groups
