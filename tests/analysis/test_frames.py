import pandas as pd

from analysis import frames
from analysis.frames import RunKey

TABLE = pd.DataFrame(
    {
        "set": ["s", "s", "s"],
        "variant": ["b", "a", "b"],
        "configurator": ["c", "c", "c"],
        "run_seed": [2, 1, 2],
        "engine": ["masked", None, "sparse"],
        "cost": [0.1, 0.2, 0.3],
    }
)


def test_groups_come_in_the_order_of_the_rows_with_typed_keys() -> None:
    assert [(key, len(own)) for key, own in frames.by_text(TABLE, "variant")] == [
        ("b", 2),
        ("a", 1),
    ]
    runs = [(key, own["cost"].to_list()) for key, own in frames.by_run(TABLE)]
    assert runs == [(RunKey("s", "b", "c", 2), [0.1, 0.3]), (RunKey("s", "a", "c", 1), [0.2])]
    assert all(type(key.run_seed) is int for key, _ in runs)
    assert frames.run_keys(TABLE) == [runs[0][0], runs[1][0], runs[0][0]]


def test_rows_without_a_value_are_in_no_group() -> None:
    keys = [key for key, _ in frames.by_texts(TABLE, ["variant", "engine"])]
    assert keys == [("b", "masked"), ("b", "sparse")]


def test_frames_are_joined_in_the_columns_asked_for() -> None:
    joined = frames.joined([TABLE, TABLE], ["cost", "variant"])
    assert joined.columns.to_list() == ["cost", "variant"] and len(joined) == 6
    empty = frames.joined([], ["cost", "variant"])
    assert empty.empty and empty.columns.to_list() == ["cost", "variant"]


def test_rows_are_dictionaries() -> None:
    assert frames.rows(TABLE[["variant", "cost"]])[0] == {"variant": "b", "cost": 0.1}
