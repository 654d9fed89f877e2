"""A cell before it leaves: the names it needs, what travels with it, what that line says of it."""
