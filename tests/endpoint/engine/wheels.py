"""Tiny wheels in a directory, and a pip that knows nothing else."""

import zipfile
from pathlib import Path


def make_wheels(directory: Path) -> None:
    for version in ("1.0", "2.0"):
        _make_wheel(directory, "gadget", version, f"version = {version!r}\n")
    _make_wheel(directory, "widget", "1.0", "import gadget\n", "Requires-Dist: gadget>=2\n")


def pip_variables(wheels: Path) -> dict[str, str]:
    return {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "UV_NO_INDEX": "1",
        "UV_FIND_LINKS": str(wheels),
    }


def unpack(wheels: Path, name: str, directory: Path) -> None:
    with zipfile.ZipFile(wheels / f"{name}-py3-none-any.whl") as wheel:
        wheel.extractall(directory)


def _make_wheel(directory: Path, name: str, version: str, source: str, needs: str = "") -> None:
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(directory / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(path, text)
