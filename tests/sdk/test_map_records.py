"""The tasks of a map as one row."""

from funcx_lab.maps.records import fold_maps


def record(number, state, items=None, group="g", **facts):
    return {
        "task_id": f"t{number}",
        "task_group_id": group,
        "label": "fit",
        "items": items,
        "state": state,
        "received": float(number),
        "started": None,
        "ended": None,
        **facts,
    }


def test_a_map_is_one_row_under_its_groups_id_and_others_stay() -> None:
    newest_first = [
        record(5, "success"),
        record(4, "success", [2, 1, 3], ended=9.0, started=6.0),
        record(3, "success", [0, 2, 3], ended=7.0, started=5.0),
        record(2, "failed"),
    ]
    rows = fold_maps(newest_first)
    assert [row["task_id"] for row in rows] == ["t5", "g", "t2"]
    assert rows[1]["label"] == "fit · map of 3"
    assert (rows[1]["state"], rows[1]["received"], rows[1]["started"], rows[1]["ended"]) == (
        "success",
        3,
        5,
        9,
    )


def test_a_map_is_in_the_state_that_says_most_and_tasks_that_were_repeated_do_not_count() -> None:
    first = [record(2, "failed", [1, 1, 2]), record(1, "success", [0, 1, 2], ended=1.0)]
    assert fold_maps(first)[0]["state"] == "failed"
    again = [record(3, "running", [1, 1, 2], group="g"), *first]
    assert fold_maps(again)[0]["state"] == "running"
    assert fold_maps(again)[0]["ended"] is None
    mended = [record(4, "success", [1, 1, 2], ended=4.0), *first]
    assert fold_maps(mended)[0]["state"] == "success"
