"""What a user may ask of a call, and that it travels."""

import msgspec
import pytest

from funcx_lab import Executor
from funcx_lab.errors import UsageError
from funcx_lab.options import make_options
from funcx_lab.protocol.messages import TaskOptions
from funcx_lab.protocol.stream import Submit

ASKED = TaskOptions(walltime_s=60.0, retries=2, ttl_s=3600.0, label="fit")
KEYWORDS = {"task_walltime": 60, "task_retries": 2, "task_ttl": 3600, "task_label": "fit"}


def keywords(**found):
    return found


def test_nothing_asked_is_nothing_sent(standin, client) -> None:
    assert make_options() is None
    assert client.submit(keywords, x=1, endpoint="cluster").result(10) == {"x": 1}
    assert standin.messages(Submit)[0].options is None


def test_an_executor_asks_for_all_its_calls(standin, client) -> None:
    with Executor("cluster", client, label="fit", retries=2, walltime=60, ttl=3600) as executor:
        executor.submit(keywords).result(10)
    with Executor("cluster", client, at_most_once=True, session="warm") as executor:
        executor.submit(keywords).result(10)
    assert [message.options for message in standin.messages(Submit)] == [
        ASKED,
        TaskOptions(at_most_once=True, session="warm"),
    ]


def test_calls_of_a_client_ask_by_keywords_that_are_not_the_functions(standin, client) -> None:
    result = client.submit(keywords, retries=7, endpoint="cluster", **KEYWORDS).result(10)
    assert result == {"retries": 7}
    assert client.map(abs, [-1], endpoint="cluster", **KEYWORDS)[0].result(10) == 1
    client.run(walltime=1, function=keywords, endpoint="cluster", **KEYWORDS)
    client.map_run([-1], function=abs, endpoint="cluster", **KEYWORDS)
    asked = [message.options for message in standin.messages(Submit)]
    assert asked == [ASKED, msgspec.structs.replace(ASKED, items=(0, 1, 1)), ASKED, ASKED]
    assert client.get_result(standin.messages(Submit)[2].tasks[0].task_id) == {"walltime": 1}


def test_calls_of_a_batch_ask_each_for_itself(standin, client) -> None:
    batch = client.create_batch()
    batch.add(-1, function=abs, endpoint="cluster", **KEYWORDS)
    batch.add(-2, function=abs, endpoint="cluster")
    task_ids = client.batch_run(batch)
    assert [standin.tasks[task_id][0].options for task_id in task_ids] == [ASKED, None]


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"retries": 1, "at_most_once": True}, "exclude"),
        ({"retries": -1}, "retries"),
        ({"retries": 1.5}, "retries"),
        ({"retries": True}, "retries"),
        ({"retries": 2**70}, "retries"),
        ({"at_most_once": "no"}, "at_most_once"),
        ({"label": 7}, "label"),
        ({"label": "x" * 201}, "label"),
        ({"walltime": 1e12}, "ten years"),
        ({"walltime": 0}, "walltime"),
        ({"walltime": "1h"}, "walltime"),
        ({"walltime": float("inf")}, "walltime"),
        ({"ttl": float("nan")}, "ttl"),
        ({"ttl": -5}, "ttl"),
        ({"session": ""}, "session"),
        ({"session": "two words"}, "session"),
        ({"session": "x" * 65}, "session"),
        ({"session": 7}, "session"),
        ({"session": "warm", "memo": True}, "exclude"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_sent(standin, client, asked, word) -> None:
    with pytest.raises(UsageError, match=word):
        Executor("cluster", client, **asked)
    with pytest.raises(UsageError, match=word):
        client.submit(abs, -1, endpoint="cluster", **{"task_" + name: value for name, value in asked.items()})
    assert standin.messages(Submit) == []


def test_map_has_no_keywords_of_the_function(client) -> None:
    with pytest.raises(UsageError, match="task_retry"):
        client.map(abs, [1], endpoint="cluster", task_retry=1)
