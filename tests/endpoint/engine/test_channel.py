"""Frames that survive a reconnect: numbers, acknowledgements, repeats."""

import random

from funcx_lab_endpoint.worker.channel import PATIENCE_S, Channel


class End:
    def __init__(self):
        self.channel, self.got = Channel(), []

    def send(self, item, now=0.0):
        number = self.channel.next_number()
        frame = f"{number} {self.channel.have} {item}".encode()
        self.channel.keep(frame, now)
        return frame

    def take(self, frame, now=0.0):
        number, have, item = frame.decode().split()
        if self.channel.accept(int(number), int(have), now) and number != "0":
            self.got.append(item)

    def beat(self):
        return f"0 {self.channel.beat()} -".encode()


def test_frames_are_taken_in_order_once():
    one, other = End(), End()
    frames = [one.send(item) for item in "abc"]
    for frame in (frames[0], frames[0], frames[2], frames[1], frames[2]):
        other.take(frame)
    assert other.got == ["a", "b", "c"]


def test_acknowledged_frames_are_forgotten():
    one, other = End(), End()
    other.take(one.send("a"))
    assert not one.channel.is_clear
    one.take(other.beat())
    assert one.channel.is_clear


def test_answers_acknowledge():
    one, other = End(), End()
    other.take(one.send("a"))
    one.take(other.send("b"))
    assert one.channel.is_clear


def test_nothing_is_repeated_before_its_time():
    one = End()
    one.send("a", now=10.0)
    assert one.channel.repeat(10.0 + PATIENCE_S / 2) == []


def test_unacknowledged_frames_are_repeated_ever_more_slowly():
    one = End()
    frame = one.send("a")
    assert one.channel.repeat(PATIENCE_S) == [frame]
    assert one.channel.repeat(2 * PATIENCE_S) == []
    assert one.channel.repeat(3 * PATIENCE_S) == [frame]


def test_reconnect_repeats_at_once():
    one = End()
    frame = one.send("a")
    assert one.channel.repeat(0.0, reconnected=True) == [frame]


def test_nothing_is_lost_or_doubled_over_a_lossy_link():
    chance = random.Random(1)
    one, other = End(), End()
    sent, now = [], 0.0
    for step in range(2000):
        now += 0.1
        sender, receiver = (one, other) if chance.random() < 0.5 else (other, one)
        if step < 1500 and chance.random() < 0.3:
            frames = [sender.send(f"{'one' if sender is one else 'other'}-{step}", now)]
            sent.append(frames[0].split()[2].decode())
        else:
            frames = [sender.beat(), *sender.channel.repeat(now)]
        for frame in frames:
            if chance.random() < 0.7:
                receiver.take(frame, now)
    for _ in range(50):
        now += 40.0
        for sender, receiver in ((one, other), (other, one)):
            for frame in [sender.beat(), *sender.channel.repeat(now)]:
                receiver.take(frame, now)
    assert one.got + other.got == [item for item in sent if item.startswith("other")] + [
        item for item in sent if item.startswith("one")
    ]
