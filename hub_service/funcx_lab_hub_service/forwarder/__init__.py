"""The hub service's side of every endpoint connection."""
