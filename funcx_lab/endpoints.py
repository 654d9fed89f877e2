"""One endpoint, as an object: submit to it, look at it, watch it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import funcx_lab

if TYPE_CHECKING:
    from funcx_lab.client import FuncXClient
    from funcx_lab.futures import TaskFuture
    from funcx_lab.maps.task_map import TaskMap

T = TypeVar("T")


class Endpoint:
    """An endpoint of a client's hub service: what ``fxc.endpoint("cluster")`` gives.

    Parameters
    ----------
    client : FuncXClient
        Who asks.
    name : str
        Its name or id.

    Attributes
    ----------
    client : FuncXClient
        The same.
    name : str
        The same.
    """

    def __init__(self, client: FuncXClient, name: str) -> None:
        self.client = client
        self.name = name

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> TaskFuture[T]:
        """Run a function here and return its future; parameters and errors as `FuncXClient.submit`."""
        return self.client.submit(function, *args, endpoint=self.name, **kwargs)

    def map(self, function: Callable[..., T], *iterables: Iterable[Any], **options: Any) -> TaskMap[T]:
        """Run a function once for each set of arguments here; parameters and errors as `FuncXClient.map`."""
        return self.client.map(function, *iterables, endpoint=self.name, **options)

    def status(self) -> dict[str, Any]:
        """Return how it is; value and errors as `FuncXClient.get_endpoint_status`."""
        return self.client.get_endpoint_status(self.name)

    def watch(self, *, block: bool | None = None) -> Any:
        """Show how your tasks here are, as they come and go; value and errors as `funcx_lab.watch`."""
        return funcx_lab.watch(endpoint=self.name, client=self.client, block=block)

    def __repr__(self) -> str:
        return f"<Endpoint {self.name} of {self.client.connection.alias}>"
