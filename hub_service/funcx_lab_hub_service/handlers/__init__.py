"""HTTP and WebSocket handlers, one resource a file."""
