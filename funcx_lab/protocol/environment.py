"""What an endpoint's workers have, as it travels: Python, packages, accelerators, limits."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

#: So many packages and importable modules are told at most.
NAMES_LIMIT = 20_000

Short: TypeAlias = Annotated[str, msgspec.Meta(max_length=300)]
Amount: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Names: TypeAlias = Annotated[dict[Short, Short], msgspec.Meta(max_length=NAMES_LIMIT)]


class Environment(msgspec.Struct, frozen=True):
    """An environment in which functions run."""

    #: whose it is: the workers'; the agent's own stands in until a worker has reported
    source: Literal["worker", "agent"]
    #: the whole version, ``"3.12.4"``
    python: Short
    #: sha256 (hex) of Python and all distributions
    hash: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    #: every distribution's version, by the name it gives itself
    packages: Names
    #: every top-level name that can be imported, standard library aside, to its distribution ("": unknown)
    modules: Names
    host: Short = ""
    #: system and processor, ``"Linux x86_64"``
    machine: Short = ""
    #: one line each, as ``nvidia-smi`` or ``rocm-smi`` names them
    accelerators: Annotated[list[Short], msgspec.Meta(max_length=256)] = []
    #: ``CUDA_VISIBLE_DEVICES``; None if it is not set
    visible_devices: Short | None = None
    #: processors and bytes of memory that a worker's process may use; 0 if unknown
    cores: Amount = 0
    memory: Amount = 0
    #: what the endpoint allows: most workers, bytes of a result
    limits: Annotated[dict[Short, Amount], msgspec.Meta(max_length=20)] = {}

    def __repr__(self) -> str:
        return f"<Environment Python {self.python}, {len(self.packages)} packages, {self.short_hash}>"

    @property
    def minor(self) -> str:
        """Python's minor version, ``"3.12"``."""
        return ".".join(self.python.split(".")[:2])

    @property
    def short_hash(self) -> str:
        """The hash as people see it."""
        return self.hash[:8]

    def version_of(self, module: str) -> str:
        """Return the version of the distribution that has a top-level module, ``""`` if that is unknown."""
        return self.packages.get(self.modules.get(module, ""), "")
