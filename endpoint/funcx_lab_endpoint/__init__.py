"""The endpoint: agent, engine and what runs inside workers."""
