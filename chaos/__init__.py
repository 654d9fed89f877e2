"""Faults on purpose: what is killed while tasks run, and three independent records of what became of them."""
