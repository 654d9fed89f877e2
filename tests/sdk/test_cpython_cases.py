import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("cpython_cases.py")

# Distributions may leave Python's test-suite out; test_executor.py makes the same claims everywhere.
if importlib.util.find_spec("test.test_concurrent_futures") is not None:

    @pytest.mark.slow
    def test_cases_of_cpython(tmp_path) -> None:
        environment = {**os.environ, "FUNCX_LAB_HOME": str(tmp_path)}
        for name in ("FUNCX_LAB_URL", "FUNCX_LAB_TOKEN", "FUNCX_LAB_JUPYTERHUB_URL"):
            environment.pop(name, None)
        try:
            done = subprocess.run(
                [sys.executable, PROGRAM], env=environment, capture_output=True, text=True, timeout=110
            )
            assert done.returncode == 0, done.stderr
            assert "Ran 2" in done.stderr  # twenty-odd cases
        finally:
            stop = [sys.executable, "-m", "funcx_lab.cli", "stop"]
            subprocess.run(stop, env=environment, check=True, timeout=60)
