"""A world of our own modules: no sockets, threads or real time; all happens when a seed says so."""
