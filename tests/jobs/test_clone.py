"""What a clone is made of."""

from __future__ import annotations

from app.jobs.clone import merged

GIVEN = {
    "name": "a",
    "config": {
        "seed": 1,
        "model": {"kind": "atft_gat_fan", "hidden_size": 64, "gat": {"layers": 3}},
        "loss": {"terms": [{"kind": "huber"}, {"kind": "mse"}]},
    },
}


def test_objects_are_merged_to_any_depth() -> None:
    clone = merged(GIVEN, {"config": {"model": {"gat": {"layers": 2}}}, "priority": 1})
    assert clone["config"]["model"] == {
        "kind": "atft_gat_fan",
        "hidden_size": 64,
        "gat": {"layers": 2},
    }
    assert (clone["config"]["seed"], clone["name"], clone["priority"]) == (1, "a", 1)
    assert GIVEN["config"]["model"]["gat"] == {"layers": 3}  # type: ignore[index]


def test_lists_are_replaced() -> None:
    clone = merged(GIVEN, {"config": {"loss": {"terms": [{"kind": "ic"}]}}})
    assert clone["config"]["loss"]["terms"] == [{"kind": "ic"}]


def test_an_object_of_another_kind_is_replaced() -> None:
    """What was said of one model is an unknown key of another."""
    clone = merged(GIVEN, {"config": {"model": {"kind": "linear"}}})
    assert clone["config"]["model"] == {"kind": "linear"}
    same = merged(GIVEN, {"config": {"model": {"kind": "atft_gat_fan", "hidden_size": 32}}})
    assert same["config"]["model"]["gat"] == {"layers": 3}


def test_null_is_a_value() -> None:
    assert merged(GIVEN, {"name": None})["name"] is None
