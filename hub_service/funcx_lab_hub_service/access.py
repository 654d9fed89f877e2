"""Who may do what: the one place that decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from funcx_lab_hub_service.auth.principals import Principal

Verb = Literal["read", "create", "submit", "cancel", "delete", "enrol"]


def may(principal: Principal, verb: Verb, owner: str, endpoint_id: str | None = None) -> bool:
    """Whether ``principal`` may do ``verb`` to what ``owner`` owns. Denied unless said here.

    A caller answers a denial exactly as if the thing did not exist.

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
    """
    if principal.kind == "user":
        return principal.user == owner
    return verb == "read" and endpoint_id is not None and endpoint_id == principal.endpoint_id


def may_create(principal: Principal, kind: Literal["function", "endpoint", "task", "object"]) -> bool:
    """Whether ``principal`` may make a new thing of this kind."""
    return principal.kind == "user" or kind == "object"
