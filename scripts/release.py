"""Build sdist and wheel into dist/, look into the wheel, and try it in an environment of its own.

.venv/bin/python scripts/release.py [--no-trial]
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
PANEL = "share/jupyter/labextensions/funcx-lab"
SERVER_CONFIG = "etc/jupyter/jupyter_server_config.d/funcx_lab_labextension.json"


def faults(wheel: Path) -> list[str]:
    """Return what is wrong with a wheel; nothing if it carries all that JupyterLab needs."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        data = {name.partition(".data/data/")[2]: name for name in names if ".data/data/" in name}
        wanted = [f"{PANEL}/package.json", f"{PANEL}/install.json", SERVER_CONFIG]
        schemas = sorted((ROOT / "labextension" / "schema").glob("*.json"))
        wanted += [f"{PANEL}/schemas/funcx-lab/{schema.name}" for schema in schemas]
        if f"{PANEL}/package.json" in data:
            about = json.loads(archive.read(data[f"{PANEL}/package.json"]))
            wanted += [f"{PANEL}/{about['jupyterlab']['_build']['load']}"]
        missing = [f"{name} is missing" for name in wanted if name not in data]
        if "funcx_lab_labextension/extension.py" not in names:
            missing += ["the server extension is missing"]
        stray = [f"{name} does not belong in" for name in names if _is_stray(name)]
        told = [
            f"{name} tells where it was built" for name in names if str(ROOT).encode() in archive.read(name)
        ]
    return missing + stray + told


def _is_stray(name: str) -> bool:
    return any(part in name for part in ("node_modules", "build_log", "/tests/", ".tsbuildinfo"))


def try_out(wheel: Path, directory: Path) -> list[str]:
    """Install a wheel into a fresh environment and return what JupyterLab there does not find."""
    _run(sys.executable, "-m", "venv", str(directory))
    _run(str(directory / "bin" / "pip"), "install", "--quiet", f"{wheel}[lab,hub]")
    jupyter = str(directory / "bin" / "jupyter")
    lists = {
        "the server extension": ([jupyter, "server", "extension", "list"], "funcx_lab_labextension"),
        "the panel": ([jupyter, "labextension", "list"], "funcx-lab"),
    }
    wrong = []
    for what, (command, name) in lists.items():
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        lines = [line for line in (done.stdout + done.stderr).splitlines() if name in line]
        if not any("enabled" in line for line in lines) or not any("OK" in line for line in lines):
            wrong.append(f"{what} is not enabled in a fresh environment: {lines}")
    return wrong


def main() -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(description="Build what is released, and look whether it is whole.")
    parser.add_argument("--no-trial", action="store_true", help="do not install the wheel")
    options = parser.parse_args()
    _run(sys.executable, "scripts/labextension.py", "--always")
    shutil.rmtree(DIST, ignore_errors=True)
    # The wheel comes out of the sdist, as it does for who builds from that.
    _run(sys.executable, "-m", "build", "--outdir", str(DIST))
    (wheel,) = DIST.glob("*.whl")
    wrong = faults(wheel)
    if not wrong and not options.no_trial:
        with tempfile.TemporaryDirectory() as directory:
            wrong = try_out(wheel, Path(directory) / "venv")
    for fault in wrong:
        print(fault, file=sys.stderr)
    if not wrong:
        print(
            "\n".join(
                f"dist/{path.name}  {path.stat().st_size // 1024} kB" for path in sorted(DIST.iterdir())
            )
        )
    return 1 if wrong else 0


def _run(*command: str) -> None:
    subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main())
