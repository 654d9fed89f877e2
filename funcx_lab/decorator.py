"""``@funcx_lab.function(...)``: the decorator that needs no client."""

from __future__ import annotations

import functools

from funcx_lab.client import FuncXClient
from funcx_lab.remote_function import Decorator


@functools.cache
def _client() -> FuncXClient:
    return FuncXClient()


#: As ``FuncXClient.function``, with a client of its own that is made at the first remote call.
function = Decorator(_client)
