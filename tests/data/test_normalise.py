"""Normalisation over the day's members, against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata

from gogooku3.data.normalise import normalise, place_by_rank


def test_rank_is_the_average_rank_scaled_to_unit_variance() -> None:
    rng = np.random.default_rng(0)
    x_N = rng.normal(size=101)
    placed_N = place_by_rank(x_N, x_N)
    assert placed_N.mean() == pytest.approx(0.0, abs=1e-12)
    assert placed_N.var() == pytest.approx(1.0)
    np.testing.assert_array_equal(np.argsort(placed_N), np.argsort(x_N))


def test_ties_share_their_average_rank() -> None:
    rng = np.random.default_rng(1)
    x_N = rng.integers(0, 7, 60).astype(float)
    wanted_N = (rankdata(x_N) - 30.5) / np.sqrt((60**2 - 1) / 12)
    np.testing.assert_allclose(place_by_rank(x_N, x_N), wanted_N, atol=1e-12)


def test_an_outsider_gets_the_place_its_value_has_among_members() -> None:
    members_M = np.arange(1.0, 10.0)
    below, between, above = place_by_rank(np.array([0.0, 5.5, 99.0]), members_M)
    inside_M = place_by_rank(members_M, members_M)
    assert below < inside_M[0]
    assert inside_M[4] < between < inside_M[5]
    assert above > inside_M[-1]


@pytest.mark.parametrize("kind", ["rank", "zscore"])
def test_days_are_independent_and_only_members_count(kind: str) -> None:
    rng = np.random.default_rng(2)
    x_TN = rng.normal(size=(3, 40))
    counted_TN = np.zeros((3, 40), dtype=bool)
    counted_TN[:, :20] = True
    present_TN = np.ones((3, 40), dtype=bool)
    present_TN[:, 39] = False
    before_TN = normalise(x_TN, counted_TN, present_TN, kind)  # type: ignore[arg-type]
    changed_TN = x_TN.copy()
    changed_TN[1] += rng.normal(size=40)
    changed_TN[:, 30:] *= 50.0
    after_TN = normalise(changed_TN, counted_TN, present_TN, kind)  # type: ignore[arg-type]
    np.testing.assert_array_equal(before_TN[[0, 2], :30], after_TN[[0, 2], :30])
    assert (before_TN[1] != after_TN[1]).any()
    assert (before_TN[:, 39] == 0).all()
    assert before_TN[0, :20].var() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("kind", ["rank", "zscore"])
def test_unknown_values_and_empty_days_are_zero(kind: str) -> None:
    x_TN = np.array([[np.nan, 1.0, 2.0, np.inf], [np.nan, 5.0, np.nan, np.nan], [3.0] * 4])
    everyone_TN = np.ones((3, 4), dtype=bool)
    out_TN = normalise(x_TN, everyone_TN, everyone_TN, kind)  # type: ignore[arg-type]
    assert out_TN[0, 0] == out_TN[0, 3] == 0.0
    assert out_TN[0, 1] == -out_TN[0, 2] != 0.0
    assert (out_TN[1:] == 0).all()


def test_zscores_are_cut() -> None:
    x_TN = np.array([[0.0] * 99 + [1000.0]])
    everyone_TN = np.ones((1, 100), dtype=bool)
    assert normalise(x_TN, everyone_TN, everyone_TN, "zscore").max() == 5.0
