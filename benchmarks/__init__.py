"""Ours beside its peers, in one run on one machine: `make bench` writes docs/benchmarks.md."""
