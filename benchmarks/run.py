"""Run every peer in turn, several times over, and write docs/benchmarks.md.

``python -m benchmarks.run [--repeats N] [--peers a,b] [--workloads W1,W2]
[--output FILE]``. The repeats go round the peers, so that a change in the machine's mood meets all of
them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from importlib import metadata
from pathlib import Path

from benchmarks.peers import PEERS

#: workload, figure, heading, digits
COLUMNS = [
    ("W1", "p50_ms", "W1 p50 ms", 2),
    ("W1", "p95_ms", "W1 p95 ms", 2),
    ("W2", "per_s", "W2 calls/s", 0),
    ("W3", "per_s", "W3 items/s", 0),
    ("W5", "x_ideal", "W5 × ideal", 3),
    ("W7", "seconds", "W7 s", 2),
]
LIMIT_S = 600
Samples = dict[tuple[str, str, str], list[float]]


def measure(peer: str, workloads: list[str]) -> dict[str, dict[str, float]]:
    """Run one peer in a process of its own; its figures, and W7 from its start to the first result."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.measure", peer, *(w for w in workloads if w != "W7")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout
        seconds, line = None, ""
        for text in process.stdout:
            if text.startswith("first result"):
                seconds = time.perf_counter() - start
            elif text.startswith("{"):
                line = text
        code = process.wait(LIMIT_S)
    if code or seconds is None or not line:
        raise SystemExit(f"{peer} ended with exit code {code}; run `{' '.join(command[1:])}` to see why.")
    return {**json.loads(line), **({"W7": {"seconds": seconds}} if "W7" in workloads else {})}


def collect(peers: list[str], workloads: list[str], repeats: int) -> Samples:
    samples: Samples = defaultdict(list)
    for repeat in range(repeats):
        for peer in peers:
            for workload, figures in measure(peer, workloads).items():
                for figure, value in figures.items():
                    samples[peer, workload, figure].append(value)
            print(f"repeat {repeat + 1}/{repeats}: {peer} done, load {os.getloadavg()[0]:.1f}", flush=True)
    return samples


def cell(values: list[float], digits: int) -> str:
    if not values:
        return "–"
    low, middle, high = (f"{v:,.{digits}f}" for v in (min(values), statistics.median(values), max(values)))
    return f"**{middle}** [{low}–{high}]"


def table(samples: Samples, peers: list[str]) -> str:
    lines = ["| | " + " | ".join(heading for *_, heading, _ in COLUMNS) + " |"]
    lines.append("|---" * (len(COLUMNS) + 1) + "|")
    for peer in peers:
        cells = [cell(samples.get((peer, w, f), []), digits) for w, f, _, digits in COLUMNS]
        lines.append(f"| {PEERS[peer][0]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ratio(samples: Samples, workload: str, figure: str, peer: str) -> float | None:
    ours, theirs = samples.get(("ours", workload, figure)), samples.get((peer, workload, figure))
    return statistics.median(ours) / statistics.median(theirs) if ours and theirs else None


def aims(samples: Samples) -> str:
    """Say how the first aims stand in this run."""
    lines = []
    for workload, figure, peer, sign, bound in (
        ("W1", "p50_ms", "htex_encrypted", "≤", 1.0),
        ("W2", "per_s", "htex_encrypted", "≥", 5.0),
    ):
        value = ratio(samples, workload, figure, peer)
        if value is not None:
            met = value <= bound if sign == "≤" else value >= bound
            lines.append(
                f"* {workload} {figure}: {value:.2f} × {PEERS[peer][0]} "
                f"(aim {sign} {bound:g}): {'met' if met else 'missed'}"
            )
    return "\n".join(lines)


def machine() -> str:
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    names = sorted(
        {name for _, packages in PEERS.values() for name in packages} | {"numpy", "msgspec", "websockets"}
    )
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} × {model}, {system}; {versions}"


def report(samples: Samples, peers: list[str], repeats: int) -> str:
    return f"""# Benchmarks

Printed by `make bench` (`python -m benchmarks.run --repeats {repeats}`); the code is in `benchmarks/`.
Median [lowest–highest] of {repeats} runs, each in fresh processes, the peers in turn. Two workers each.

* **W1** one no-op after another, 300 times. **W2** 10,000 separate submits of a no-op, then gather.
  **W3** a map of 10,000 small items. **W5** 2,000 calls of 10 ms on two workers, over the ideal 10 s.
  **W7** from starting Python to the first result, with nothing running before.
* Ours goes through the real hub service: every task is on disk (SQLite, synchronous FULL) before it is
  acknowledged, and so is every result before it is shown; every wire is authenticated; the function
  travels as source. The peers keep tasks in memory.

{table(samples, peers)}

{aims(samples)}

Machine: {machine()}.
Load average at the end: {os.getloadavg()[0]:.1f}.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--workloads", default="W1,W2,W3,W5,W7")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks.md"))
    options = parser.parse_args()
    peers = options.peers.split(",")
    text = report(collect(peers, options.workloads.split(","), options.repeats), peers, options.repeats)
    print(text)
    options.output.write_text(text)


if __name__ == "__main__":
    main()
