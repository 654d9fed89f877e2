"""When sessions that do not come up are a fault, and whose."""

from funcx_lab_endpoint.engine.progress import (
    BACKOFF_LIMIT_S,
    BUSY_STUCK_S,
    ENGINE_STUCK_S,
    SHORT_STUCK_S,
    STUCK_S,
    Caution,
    EndBlock,
    EndEngine,
    Progress,
)


def report(workers=2, **tasks):
    nodes = {
        node: {"block": f"block of {node}", "tasks": number, "workers": workers}
        for node, number in tasks.items()
    }
    return {"nodes": nodes, "workers": workers * len(nodes)}


class World:
    """A watch that looks every second."""

    def __init__(self):
        self.progress = Progress()
        self.now = 0.0
        self.progress.restart(0.0)

    def until_fault(self, facts, up=(), busy=(), *, waiting=1, limit=2000):
        """Look until something must be ended; return what, and after how many seconds."""
        since = self.now
        while self.now < since + limit:
            fault = self.progress.look(self.now, facts, up, busy, waiting=waiting)
            if fault is not None:
                return fault, self.now - since
            self.now += 1.0
        return None, limit


def test_node_that_starts_its_sessions_is_left_alone():
    assert World().until_fault(report(a=2), ["a", "a"], waiting=0) == (None, 2000)


def test_block_of_a_node_that_sits_on_a_session_is_ended():
    fault, seconds = World().until_fault(report(a=2, b=1), ["a", "b"])
    assert isinstance(fault, EndBlock)
    assert fault.block == "block of a"
    assert STUCK_S < seconds < STUCK_S + 3


def test_node_that_lost_an_idle_worker_has_less_time():
    world = World()
    world.progress.lost_idle_worker("a")
    fault, seconds = world.until_fault(report(a=1))
    assert isinstance(fault, EndBlock)
    assert SHORT_STUCK_S < seconds < SHORT_STUCK_S + 3


def test_session_that_comes_up_from_a_node_clears_it():
    world = World()
    world.progress.lost_idle_worker("a")
    world.progress.came_up(0.0, "a")
    assert world.until_fault(report(a=1))[1] > SHORT_STUCK_S + 3


def test_node_on_which_calls_run_has_more_time():
    fault, seconds = World().until_fault(report(a=2), ["a"], {"a"})
    assert isinstance(fault, EndBlock)
    assert seconds > BUSY_STUCK_S


def test_node_that_brings_up_one_session_after_the_other_is_no_fault():
    world = World()
    for number in range(20):
        world.progress.came_up(world.now, "a")
        assert world.until_fault(report(20, a=20), ["a"] * number, limit=STUCK_S - 5)[0] is None


def test_engine_is_ended_when_nothing_comes_up_although_workers_are_free():
    fault, seconds = World().until_fault(report(a=0))
    assert isinstance(fault, EndEngine)
    assert ENGINE_STUCK_S < seconds < ENGINE_STUCK_S + 3


def test_next_engine_that_is_no_better_has_twice_the_time():
    world = World()
    world.until_fault(report(a=0))
    world.progress.restart(world.now)
    assert world.until_fault(report(a=0))[1] > 2 * ENGINE_STUCK_S
    world.progress.came_up(world.now, "a")
    assert world.until_fault(report(a=0))[1] < ENGINE_STUCK_S + 3


def test_waiting_for_a_block_is_no_fault():
    assert World().until_fault(report()) == (None, 2000)


def test_waiting_behind_sessions_on_all_workers_is_no_fault():
    assert World().until_fault(report(a=2), ["a", "a"]) == (None, 2000)


def test_engine_with_running_calls_is_given_more_time():
    fault, seconds = World().until_fault(report(a=1), ["a"], {"a"})
    assert isinstance(fault, EndEngine)
    assert seconds > BUSY_STUCK_S


def test_node_that_is_gone_is_forgotten():
    world = World()
    assert world.until_fault(report(a=1), limit=STUCK_S - 5)[0] is None
    assert world.until_fault(report(), limit=5)[0] is None
    assert world.until_fault(report(a=1), limit=STUCK_S - 5)[0] is None


def test_sessions_that_end_before_they_are_up_are_asked_for_ever_more_slowly():
    caution = Caution()
    waits = []
    for _ in range(8):
        caution.failed("exit code 1", 100.0)
        waits.append(caution.until - 100.0)
    assert waits[:3] == [1.0, 2.0, 4.0]
    assert waits[-1] == BACKOFF_LIMIT_S
    assert "exit code 1" in caution.trouble
    caution.forget()
    assert caution.trouble == ""
