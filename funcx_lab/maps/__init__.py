"""One function over many items: what is computed by which task, progress, failures, what is left to do."""
