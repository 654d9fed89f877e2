"""What the programs say to each other: states, messages, documents and payloads."""

#: Version of the ZeroMQ and stream messages; neighbours N and N-1 work together.
PROTOCOL_VERSION = 1
