"""Bodies are read strictly: what could not be stored or understood is named, never a crash."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.body import DEEPEST, MOST_VALUES, BodyNotJsonError, parse

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def codes(raw: str | bytes) -> dict[str, str]:
    """The problems found, by pointer."""
    body = parse(raw.encode() if isinstance(raw, str) else raw)
    return {problem.pointer: problem.code for problem in body.problems}


@pytest.mark.parametrize("raw", [b"", b"{", b"nope", b"{} {}", b"\xff\xfe\x00", b"'a'"])
def test_text_that_is_not_json_is_refused(raw: bytes) -> None:
    with pytest.raises(BodyNotJsonError):
        parse(raw)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_named(number: str) -> None:
    assert codes(f'{{"a": [1, {number}]}}') == {"/a/1": "finite-number"}


def test_characters_that_cannot_be_stored_are_named_in_values_and_keys() -> None:
    assert codes(r'{"a": "x\u0000", "b\ud800": 1, "c": ["\udfff"]}') == {
        "/a": "nul-character",
        "/b\ud800": "lone-surrogate",
        "/c/0": "lone-surrogate",
    }


def test_surrogate_pairs_are_characters() -> None:
    assert codes(r'"\ud83d\ude00"') == {}


def test_repeated_keys_are_named() -> None:
    assert codes('{"a": {"x": 1, "x": 2}, "b": 1}') == {"/a/x": "repeated-key"}


@pytest.mark.parametrize("levels", [DEEPEST + 1, 5_000, 200_000])
def test_deep_nesting_is_a_problem(levels: int) -> None:
    assert codes("[" * levels + "]" * levels) == {"": "too-deep"}


def test_allowed_depth_is_allowed() -> None:
    assert codes("[" * DEEPEST + "]" * DEEPEST) == {}


def test_too_many_values_are_a_problem() -> None:
    assert codes(json.dumps([0] * MOST_VALUES)) == {"": "too-many-values"}


def test_numbers_with_thousands_of_digits_are_a_problem() -> None:
    assert codes("[" + "9" * 5000 + "]") == {"": "number-too-long"}


def test_digest_ignores_spacing_and_order_but_nothing_else() -> None:
    first = parse(b'{"a": 1, "b": [1, 2]}').digest()
    assert parse(b'{"b":[1,2],\n"a":1}').digest() == first
    assert parse(b'{"b":[2,1],"a":1}').digest() != first


@given(JSON)
def test_any_json_is_parsed_and_its_value_kept_when_it_has_no_problems(value: Any) -> None:
    body = parse(json.dumps(value).encode())
    if not body.problems:
        assert body.value == value
        body.digest()


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(raw: bytes) -> None:
    with suppress(BodyNotJsonError):
        parse(raw).digest()
