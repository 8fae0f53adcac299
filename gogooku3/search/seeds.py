"""Seed noise and effect: how far the parameters matter beyond the random seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import f as f_distribution


@dataclass(frozen=True)
class SeedNoise:
    """One-way analysis of variance of trials (groups) over seeds."""

    trials: int
    seeds: int
    """Values in all."""
    seed_std: float
    """Standard deviation between seeds of one trial: noise."""
    effect_std: float
    """Standard deviation between trials beyond that noise; 0 if there is none."""
    effect_share: float
    """Effect variance over total variance (intraclass correlation), 0 to 1."""
    p: float | None
    """Chance of such differences between trials if the parameters did nothing (F test)."""


def seed_noise(values: Sequence[Sequence[float]]) -> SeedNoise | None:
    """The analysis of each trial's values over its seeds; None with fewer than two trials that
    have two seeds.

    With mean squares within and between groups MSW and MSB, and n₀ values a group (corrected for
    unequal groups): seed variance = MSW, effect variance = max(0, (MSB − MSW) / n₀).
    """
    groups = [np.asarray(group, dtype=np.float64) for group in values if len(group) >= 2]
    if len(groups) < 2:
        return None
    sizes = np.array([len(group) for group in groups], dtype=np.float64)
    total = float(sizes.sum())
    means = np.array([group.mean() for group in groups])
    grand = float((sizes * means).sum() / total)
    within = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    between = float((sizes * (means - grand) ** 2).sum())
    degrees = len(groups) - 1, total - len(groups)
    msb, msw = between / degrees[0], within / degrees[1]
    size = (total - float((sizes**2).sum()) / total) / degrees[0]
    effect = max(0.0, (msb - msw) / size)
    whole = effect + msw
    return SeedNoise(
        trials=len(groups),
        seeds=int(total),
        seed_std=float(np.sqrt(msw)),
        effect_std=float(np.sqrt(effect)),
        effect_share=effect / whole if whole > 0 else 0.0,
        p=float(f_distribution.sf(msb / msw, *degrees)) if msw > 0 else None,
    )
