"""Functions that know where they run: ``@fxc.function(endpoint="cluster")``."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, overload

from funcx_lab.errors import TransportError, UsageError
from funcx_lab.options import make_options

if TYPE_CHECKING:
    from funcx_lab.futures import TaskFuture
    from funcx_lab.protocol.messages import TaskOptions

P = ParamSpec("P")
T = TypeVar("T")


class Client(Protocol):
    """What a remote function needs of a `FuncXClient`."""

    def submit_call(
        self,
        function: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        endpoint: str | None = None,
        options: TaskOptions | None = None,
    ) -> TaskFuture[T]:
        """Run one call and return its future."""

    def map(
        self,
        function: Callable[..., T],
        *iterables: Iterable[Any],
        endpoint: str | None = None,
        **options: Any,
    ) -> Any:
        """Run a function once for each set of arguments."""


class RemoteFunction(Generic[P, T]):
    """A function with a place to run at; made by ``@fxc.function(...)``.

    Called plainly it runs here, so tests and other functions can use it as it is. Used inside a function
    or cell that runs at an endpoint, it travels along and is called there.

    Parameters
    ----------
    function : callable
        What it runs.
    client : callable or None
        Gives the client that submits; None where functions only run: at an endpoint.
    endpoint : str, optional
        Name or id; the local endpoint by default, if the service is your own.
    options : mapping
        Keywords of `Executor`: retries, walltime, label, ...

    Attributes
    ----------
    local_function : callable
        The function itself.
    """

    __name__: str

    def __init__(
        self,
        function: Callable[P, T],
        client: Callable[[], Client] | None,
        endpoint: str | None,
        options: Mapping[str, Any],
    ) -> None:
        inner: Any = function.func if isinstance(function, functools.partial) else function
        self.__name__ = getattr(inner, "__name__", type(inner).__name__)
        functools.update_wrapper(
            self, function, updated=()
        )  # an attribute of its own hides no method of ours
        self.local_function = function
        self._client = client
        self._endpoint = endpoint
        self._options = dict(options)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run it here."""
        return self.local_function(*args, **kwargs)

    local = __call__

    def remote(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run it at its endpoint and return its value; an interrupt cancels it.

        Raises
        ------
        CannotSerialize
            If the function or an argument cannot be sent.
        Exception
            What it raised, or a `TaskError`.
        """
        future = self.spawn(*args, **kwargs)
        try:
            return future.result()
        except KeyboardInterrupt:
            with contextlib.suppress(TransportError):
                future.cancel()
            raise

    def spawn(self, *args: P.args, **kwargs: P.kwargs) -> TaskFuture[T]:
        """Run it at its endpoint and return its future at once.

        Raises
        ------
        CannotSerialize
            If the function or an argument cannot be sent.
        """
        options = make_options(**self._options)
        return self._submitter().submit_call(self.local_function, args, kwargs, self._endpoint, options)

    def map(self, *iterables: Iterable[Any]) -> Any:
        """Run it once for each set of arguments, as the built-in ``map`` pairs them; see ``FuncXClient.map``.

        Raises
        ------
        CannotSerialize
            If the function or an argument cannot be sent.
        """
        asked = {f"task_{name}": value for name, value in self._options.items()}
        return self._submitter().map(self.local_function, *iterables, endpoint=self._endpoint, **asked)

    def _submitter(self) -> Client:
        if self._client is None:
            raise UsageError(
                f"{self.__name__} is at an endpoint already and has no hub service there: call it plainly, "
                f"{self.__name__}(...)."
            )
        return self._client()

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self._options.items())
        return f"<RemoteFunction {self.__name__} on {self._endpoint or 'the default endpoint'}{options}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteFunction, (self.local_function, None, self._endpoint, self._options)

    def __copy__(self) -> RemoteFunction[P, T]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> RemoteFunction[P, T]:
        return self


class Decorator:
    """Makes functions remote: ``@fxc.function(endpoint="cluster", retries=2)``.

    The function keeps its name, signature and documentation. Called plainly it runs here; ``.remote(x)``
    runs it at the endpoint and waits, ``.spawn(x)`` gives a future, ``.map(xs)`` runs it for each item and
    ``.local(x)`` is the plain call.

    Parameters
    ----------
    client : callable
        Gives the client that submits; called at the first remote call.
    """

    def __init__(self, client: Callable[[], Client]) -> None:
        self._client = client

    @overload
    def __call__(self, function: Callable[P, T], /) -> RemoteFunction[P, T]: ...

    @overload
    def __call__(
        self, function: None = None, /, *, endpoint: str | None = None, **options: Any
    ) -> Callable[[Callable[P, T]], RemoteFunction[P, T]]: ...

    def __call__(self, function: Any = None, /, *, endpoint: str | None = None, **options: Any) -> Any:
        """Return ``function`` with a place to run at, or a decorator that does so.

        Parameters
        ----------
        function : callable, optional
            The function, when the decorator is written without parentheses.
        endpoint : str, optional
            Name or id; the local endpoint by default, if the service is your own.
        **options
            Keywords of `Executor`: retries, at_most_once, walltime, ttl, label, ...

        Raises
        ------
        UsageError
            For a method, for what cannot be called, and for an option that makes no sense.
        """
        _check_options(options)

        def decorate(function: Any) -> RemoteFunction[Any, Any]:
            if isinstance(function, RemoteFunction):
                function = function.local_function
            _check_function(function)
            return RemoteFunction(function, self._client, endpoint, options)

        return decorate if function is None else decorate(function)

    def __repr__(self) -> str:
        return "<decorator that makes functions remote>"


def _check_options(options: Mapping[str, Any]) -> None:
    known = inspect.signature(make_options).parameters
    for name in options:
        if name not in known:
            raise UsageError(f"function() has no option {name!r}. There are: endpoint, {', '.join(known)}.")
    make_options(**options)


def _check_function(function: Any) -> None:
    if isinstance(function, str):
        raise UsageError(f"Name the endpoint: @fxc.function(endpoint={function!r}).")
    if not callable(function):
        raise UsageError(
            f"function() makes functions remote, not {type(function).__name__} {function!r:.80}."
        )
    owner, _, name = getattr(function, "__qualname__", "").rpartition(".")
    if owner and not owner.endswith("<locals>"):
        raise UsageError(
            f"{owner}.{name} is a method, and function() makes functions remote. Write a function that takes "
            f"the object: def {name}(obj, ...): return obj.{name}(...)"
        )
