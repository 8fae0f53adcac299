"""The population stability index against scipy's relative entropy, and what it is to tell."""

import numpy as np
import pytest
from scipy.special import rel_entr

from gogooku3.metrics import population_stability


def test_it_is_the_symmetric_relative_entropy_over_the_references_deciles() -> None:
    rng = np.random.default_rng(0)
    reference, current = rng.normal(size=5000), rng.normal(0.3, 1.2, size=3000)
    edges = np.quantile(reference, np.linspace(0, 1, 11))
    edges[0], edges[-1] = -np.inf, np.inf
    p, q = (np.histogram(x, edges)[0] / len(x) for x in (reference, current))
    expected = (rel_entr(p, q) + rel_entr(q, p)).sum()
    assert population_stability(reference, current) == pytest.approx(expected, rel=1e-9)


def test_the_same_distribution_is_stable_and_a_shifted_one_is_not() -> None:
    rng = np.random.default_rng(1)
    same = population_stability(rng.normal(size=20_000), rng.normal(size=20_000))
    moved = population_stability(rng.normal(size=20_000), rng.normal(1.0, size=20_000))
    assert same is not None
    assert moved is not None
    assert same < 0.01
    assert moved > 0.5


def test_scores_outside_the_reference_are_finite_and_no_reference_is_undefined() -> None:
    far = population_stability(np.arange(100.0), np.full(50, 1e9))
    assert far is not None
    assert np.isfinite(far)
    assert far > 5
    ties = population_stability(np.repeat([0.0, 1.0], 50), np.repeat([0.0, 1.0], 80))
    assert ties == pytest.approx(0.0)
    assert population_stability(np.ones(100), np.arange(10.0)) is None
    assert population_stability(np.arange(10.0), np.empty(0)) is None
