"""Normalisation over the day's members, against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, rankdata

from gogooku3.data import ranks
from gogooku3.data.normalise import normalise


def placed(x_N: np.ndarray, kind: str = "rank", members: int | None = None) -> np.ndarray:
    """One day's values among its first so many, or among all."""
    counted_TN = np.arange(len(x_N))[None] < (members or len(x_N))
    everyone_TN = np.ones((1, len(x_N)), dtype=bool)
    return normalise(x_N[None], counted_TN, everyone_TN, kind)[0].astype(float)  # type: ignore[arg-type]


def test_rank_is_the_average_rank_scaled_to_unit_variance() -> None:
    x_N = np.random.default_rng(0).normal(size=101)
    placed_N = placed(x_N)
    assert placed_N.mean() == pytest.approx(0.0, abs=1e-7)
    assert placed_N.var() == pytest.approx(1.0)
    np.testing.assert_array_equal(np.argsort(placed_N), np.argsort(x_N))


@pytest.mark.parametrize("size", [2, 60])
def test_ties_share_their_average_rank(size: int) -> None:
    x_N = np.random.default_rng(1).integers(0, 7, size).astype(float)
    x_N[0] = 3.0
    wanted_N = (rankdata(x_N) - (size + 1) / 2) / np.sqrt((size**2 - 1) / 12)
    np.testing.assert_allclose(placed(x_N), wanted_N, atol=1e-6)
    gauss_N = norm.ppf((rankdata(x_N) - 0.5) / size)
    np.testing.assert_allclose(placed(x_N, "rank_gauss"), gauss_N, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", ["rank", "rank_gauss"])
def test_an_outsider_gets_the_place_its_value_has_among_members(kind: str) -> None:
    x_N = np.append(np.arange(1.0, 10.0), [0.0, 5.5, 99.0])
    out_N = placed(x_N, kind, members=9)
    inside_M, (below, between, above) = out_N[:9], out_N[9:]
    assert inside_M[4] < between < inside_M[5]
    if kind == "rank":
        assert below < inside_M[0]
        assert above > inside_M[-1]
    else:
        assert (below, above) == (inside_M[0], inside_M[-1])


def test_days_beyond_one_block_are_ranked_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    x_TN = rng.integers(0, 9, (50, 30)).astype(float)
    x_TN[rng.random(x_TN.shape) < 0.2] = np.nan
    counted_TN = rng.random(x_TN.shape) < 0.7
    whole, sizes_T = ranks.midranks(x_TN, counted_TN)
    monkeypatch.setattr(ranks, "BLOCK_VALUES", 100)
    np.testing.assert_array_equal(ranks.midranks(x_TN, counted_TN)[0], whole)
    for x_N, counted_N, middle_N, size in zip(x_TN, counted_TN, whole, sizes_T, strict=True):
        member_M = x_N[counted_N & np.isfinite(x_N)]
        assert size == len(member_M)
        for x, middle in zip(x_N, middle_N, strict=True):
            wanted = (member_M < x).sum() + 0.5 * (member_M == x).sum()
            assert middle == (wanted if np.isfinite(x) else 0.0)


@pytest.mark.parametrize("kind", ["rank", "rank_gauss", "zscore"])
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
    spread = 0.94 if kind == "rank_gauss" else 1.0  # 20 quantiles of a normal distribution
    assert before_TN[0, :20].var() == pytest.approx(spread, abs=0.01)


@pytest.mark.parametrize("kind", ["rank", "rank_gauss", "zscore"])
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
