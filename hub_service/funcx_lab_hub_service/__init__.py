"""The hub service: registry, durable task queues, streams and the forwarder."""
