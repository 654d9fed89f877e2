"""Which dashboards there are; known without bokeh."""

from __future__ import annotations

#: Name (the last part of the address) and title, in the order of the index.
DASHBOARDS = {
    "tasks": "Task stream",
    "queue": "Queue",
    "scaling": "Scaling",
    "latency": "Latency",
    "throughput": "Throughput",
    "failures": "Failures",
    "bytes": "Bytes moved",
}
#: What is missing without bokeh.
MISSING = (
    "The dashboards need bokeh, which is not installed where the hub service runs. "
    "Run `pip install 'funcx-lab[dashboards]'` there; the service finds it without a restart."
)
