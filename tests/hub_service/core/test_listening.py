"""Sockets that listen when there are no file descriptors left."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from funcx_lab_hub_service.listening import bind


@pytest.fixture
def door() -> Iterator[socket.socket]:
    [listening] = bind("127.0.0.1", 0, 0)
    with listening:
        yield listening


def test_who_comes_when_no_descriptor_is_left_is_hung_up_on(
    door: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, full = socket.socket.accept, os.open(os.devnull, os.O_RDONLY)

    def accept(self: socket.socket) -> tuple[socket.socket, object]:
        """Fail as long as the descriptor that the door keeps is taken."""
        free = os.dup(full)
        os.close(free)
        if free > door._spare >= 0:
            raise OSError(24, "Too many open files")
        return real(self)

    monkeypatch.setattr(socket.socket, "accept", accept)
    for _ in range(3):
        with socket.create_connection(door.getsockname(), timeout=5) as knocking:
            with pytest.raises(BlockingIOError):
                door.accept()
            assert knocking.recv(1) == b""
    monkeypatch.setattr(socket.socket, "accept", real)
    with socket.create_connection(door.getsockname(), timeout=5):
        door.accept()[0].close()
    os.close(full)
    assert [record.message for record in caplog.records].count(
        "There are no file descriptors left: connections are turned away."
    ) == 1
