"""An unmodified Globus Compute client, pointed at a hub service of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from funcx_lab.credentials import find_service
from funcx_lab.errors import MissingExtra

if TYPE_CHECKING:
    from globus_compute_sdk import Client


def globus_client(url: str | None = None, token: str | None = None, **settings: Any) -> Client:
    """Return a ``globus_compute_sdk.Client`` that talks to a hub service.

    That client has no official argument for an address, so its web client is replaced.

    Parameters
    ----------
    url, token : str, optional
        The service; found as `FuncXClient` finds it when left out.
    **settings
        Further arguments of ``globus_compute_sdk.Client``, serialization strategies for instance.

    Raises
    ------
    MissingExtra
        If ``globus-compute-sdk`` is not installed here.
    """
    try:
        from globus_compute_sdk import Client
        from globus_compute_sdk.sdk.client import _ComputeWebClient
        from globus_sdk import AccessTokenAuthorizer
    except ImportError as err:
        raise MissingExtra(
            "The Globus Compute client is not installed in this environment; "
            "`pip install globus-compute-sdk`."
        ) from err
    service = find_service(url, token)
    authorizer = AccessTokenAuthorizer(service.token)
    client = Client(authorizer=authorizer, do_version_check=False, **settings)
    client._compute_web_client = _ComputeWebClient(base_url=service.url, authorizer=authorizer)
    client.web_service_address = service.url
    return client
