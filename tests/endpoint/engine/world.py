"""The sessions of an engine without a socket or a clock, and shorthand for what happens to them."""

from funcx_lab.protocol.messages import FunctionBody, TaskOptions
from funcx_lab_endpoint.engine.contract import Call
from funcx_lab_endpoint.engine.sessions import Sessions
from funcx_lab_endpoint.worker import messages as m


class World:
    """Sessions and what they were sent."""

    def __init__(self, *sids, short=(), long=()):
        self.sessions = Sessions()
        for function_id in short:
            self.sessions.times.learn(function_id, 0.001)
        for function_id in long:
            self.sessions.times.learn(function_id, 5.0)
        for function_id in "fg":
            self.sessions.learn(FunctionBody(function_id, "", "funcx-lab", function_id, b""))
        for sid in sids:
            self.sessions.up(sid, {"pid": 1}, 0.0)

    def submit(self, *names, **options):
        """Submit calls named by their function and a number: f1, f2, g1."""
        self.sessions.submit([Call(name, 7, name[0], options=TaskOptions(**options)) for name in names])
        return self

    def sent(self, sid):
        """What the session was sent since the last look."""
        return self.sessions.outbox.pop(sid, [])

    def runs(self, sid):
        return [item.task_id for item in self.sent(sid) if isinstance(item, m.Run)]

    def run(self, sid, name):
        return next(item for item in self.sent(sid) if isinstance(item, m.Run) and item.task_id == name)

    def take(self, sid, *items):
        self.sessions.take(sid, items, 1.0)
        return self

    def done(self, sid, seq, seconds=0.001, **changes):
        fields = {"ok": True, "payload": b"", "error": None, "started": 0.0, "ended": 0.0} | changes
        return self.take(sid, m.Done(seq, seconds=seconds, **fields))

    def facts(self, kind):
        return [fact.task_id for fact in self.sessions.facts if isinstance(fact, kind)]
