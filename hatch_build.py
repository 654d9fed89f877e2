"""Puts the built front end into a wheel and an sdist, and builds it first where it is not built.

An editable install takes what is there, so that it needs neither Node.js nor a package registry; ``make lab``
and ``make check`` build. An sdist carries the built files: who installs it needs nothing either.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_PLACE = "share/jupyter/labextensions/funcx-lab"


class FrontEnd(BuildHookInterface[Any]):
    """The build hook."""

    def dependencies(self) -> list[str]:
        """Return what the build runs, if something has to be built."""
        script = self._script()
        # What asks names its step on its command line; another frontend than pip gets a package too many.
        if script.is_built() or self._is_sdist_unpacked() or "get_requires_for_build_editable" in sys.argv:
            return []
        node = [] if script.has_node() else [script.NODE_PACKAGE]
        return [script.BUILDER_PACKAGE, *node]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build if that is needed, and add what is built."""
        if version == "editable":
            return
        script = self._script()
        if not script.is_built() and not self._is_sdist_unpacked():
            programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
            script.build(programs)
        if self.target_name == "wheel":
            for path in script.BUILT.rglob("*"):
                if path.is_file() and path.name not in script.NOT_SHIPPED:
                    target = f"{_PLACE}/{path.relative_to(script.BUILT).as_posix()}"
                    build_data["shared_data"][str(path)] = target
            build_data["shared_data"][str(script.FOLDER / "install.json")] = f"{_PLACE}/install.json"

    def _is_sdist_unpacked(self) -> bool:
        return (Path(self.root) / "PKG-INFO").exists()

    def _script(self) -> SimpleNamespace:
        return SimpleNamespace(**runpy.run_path(str(Path(self.root) / "scripts" / "labextension.py")))
