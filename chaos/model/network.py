"""Between hub service and agents: frames are lost, doubled, overtaken, and some surface late."""

from __future__ import annotations

from typing import TYPE_CHECKING

from funcx_lab.protocol.messages import ResultAck, forwarder_codec

if TYPE_CHECKING:
    from chaos.model.world import World

#: At most so many frames are under way while faults last.
_CROWD = 120
#: How messages with tasks, and with acknowledgements of results, begin.
_TASKS, _ACK = b"Tasks", b"ResultAck"


class Network:
    """Frames under way: ``(to, peer, data)``, ``to`` is ``hub`` or the life of an agent."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._frames: list[tuple[object, bytes, bytes]] = []
        self._late: list[tuple[object, bytes, bytes]] = []
        self._holds = world.r.choice((0.0, 0.05, 0.15))
        #: how often a frame is lost, and how often it comes twice
        self._loss, self._copies = world.r.choice(((0.10, 0.08), (0.10, 0.08), (0.02, 0.02), (0.15, 0.25)))
        #: connections: the life of the agent at the other end
        self._peers: dict[bytes, object] = {}

    def __len__(self) -> int:
        return len(self._frames)

    def open(self, peer: bytes, life: object) -> None:
        """Take note of a new connection."""
        self._peers[peer] = life

    def close(self, peer: bytes) -> None:
        """Forget a connection; what is under way may still arrive."""
        self._peers.pop(peer, None)

    def to_agent(self, peer: bytes, data: bytes) -> bool:
        """Send; False if the connection is gone."""
        life = self._peers.get(peer)
        if life is None:
            return False
        self._frames.append((life, peer, data))
        if _TASKS in data[:32]:
            self.world.dispatched()
        elif _ACK in data[:32]:
            message = forwarder_codec.decode(data)
            if isinstance(message, ResultAck):
                self.world.acknowledged(message.results)
        return True

    def to_hub(self, peer: bytes, data: bytes) -> None:
        """Send."""
        self._frames.append(("hub", peer, data))

    def cut(self) -> None:
        """Lose what is under way."""
        self._frames.clear()

    def hub_crashed(self) -> None:
        """Nothing late reaches another life of the hub service: its connections ended with it."""
        self._late = [frame for frame in self._late if frame[0] != "hub"]

    def step(self) -> None:
        """Deliver, lose, double or hold back one frame."""
        r, frames, calm = self.world.r, self._frames, self.world.calm
        if self._late and r.random() < (0.2 if calm else 0.015):
            frames.append(self._late.pop(r.randrange(len(self._late))))
        if not frames:
            return
        place, chance = r.randrange(len(frames)), 1.0 if calm else r.random()
        frame = frames[place]
        if not calm and chance > 1.0 - self._holds:
            self._late.append(frame)  # late as well, or only late
            if r.random() < 0.5:
                frames[place] = frames[-1]
                frames.pop()
                return
        is_lost = chance < self._loss
        if is_lost or chance >= self._loss + self._copies:  # else it stays, and comes once more
            frames[place] = frames[-1]
            frames.pop()
        if not is_lost:
            self._deliver(*frame)
        if len(frames) > _CROWD and not calm:
            r.shuffle(frames)
            del frames[_CROWD:]

    def _deliver(self, to: object, peer: bytes, data: bytes) -> None:
        if to == "hub":
            self.world.hub.receive(peer, data)
        else:
            for agent in self.world.agents:
                agent.receive(to, data)
