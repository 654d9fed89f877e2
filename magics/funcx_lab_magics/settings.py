"""The notebook's defaults: ``%funcx config``, ``%config FuncX``, or ``c.FuncX`` in an IPython profile."""

from __future__ import annotations

import argparse
from typing import Any

from traitlets import Bool, Enum, Float, List, TraitError, Unicode, Union, validate
from traitlets.config.configurable import Configurable

from funcx_lab.credentials import check_address
from funcx_lab.errors import UsageError

#: What ``%funcx config`` shows and sets, as the cell magic's options are called.
NAMES = ("endpoint", "out", "background", "quiet", "progress_after", "on_interrupt", "timeout")
#: Who says what nobody has changed.
BUILT_IN = "built in"


class FuncX(Configurable):
    """Defaults of the cell magic; its class name is the name in IPython's configuration."""

    endpoint = Unicode("local", help="Name or id of the endpoint that cells run on.").tag(config=True)
    out = Union(
        [Enum(["auto", "none", "*"]), List(Unicode())],
        default_value="auto",
        help="Names to bring back: auto (assigned names up to 1 MiB each), none, '*' or a list.",
    ).tag(config=True)
    background = Bool(False, help="Do not wait for cells.").tag(config=True)
    quiet = Bool(False, help="Show no manifest line.").tag(config=True)
    progress_after = Float(
        2.0, help="Seconds of silence after which a cell's line tells how its task is; -1: never."
    ).tag(config=True)
    on_interrupt = Enum(["cancel", "detach"], "cancel", help="What an interrupt does while waiting.").tag(
        config=True
    )
    timeout = Float(None, allow_none=True, help="Stop a cell when it has run this many seconds.").tag(
        config=True
    )
    url = Unicode("", help="Address of the hub service; empty: found as the SDK finds it.").tag(config=True)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._here: set[str] = set()
        self.observe(lambda change: self._here.add(change["name"]), list(NAMES))

    @validate("endpoint", "url", "timeout")
    def _check(self, proposal: Any) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        if name == "endpoint" and not value.strip():
            raise TraitError("endpoint must name an endpoint.")
        if name == "timeout" and value is not None and not value > 0:
            raise TraitError(f"timeout must be seconds above 0, or None, not {value!r}.")
        if name == "url" and value:
            try:
                check_address(value, "url")
            except UsageError as err:
                raise TraitError(err.message) from None
        return value

    def set_from(self, options: argparse.Namespace) -> None:
        """Take over what ``%funcx config`` was given."""
        for name in NAMES:
            value = getattr(options, name)
            if value is not None:
                setattr(self, name, value)
                self._here.add(name)

    def reset(self) -> None:
        """Go back to what IPython's configuration says, or the built-in defaults."""
        configured: Any = self.config.get("FuncX", {})
        for name in NAMES:
            setattr(self, name, configured.get(name, self.trait_defaults(name)))
        self._here.clear()

    def is_set_here(self, name: str) -> bool:
        """Whether a default was set in this kernel, whatever it was before."""
        return name in self._here

    def origin(self, name: str) -> str:
        """Return who says what a default is, in words."""
        if self.is_set_here(name):
            return "set here"
        configured: Any = self.config.get("FuncX", {})
        return "IPython's configuration" if name in configured else BUILT_IN

    def changed(self) -> dict[str, Any]:
        """Return the defaults that are not the built-in ones, the service's address among them."""
        built_in: Any = self.trait_defaults()
        values = {name: getattr(self, name) for name in (*NAMES, "url")}
        return {name: value for name, value in values.items() if value != built_in[name]}

    def shown(self) -> list[tuple[str, str, str, str]]:
        """Return name, value, who says so, and meaning of each default."""
        rows = []
        for name in NAMES:
            value = getattr(self, name)
            text = ",".join(value) if isinstance(value, list) else "" if value is None else str(value)
            rows.append((name, text, self.origin(name), str(self.traits()[name].help)))
        return rows
