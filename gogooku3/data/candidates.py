"""Which features a dataset gets: those its source brings and those that are built in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gogooku3.config.source import SourceSpec
from gogooku3.data.features import FEATURES, FeatureSpec
from gogooku3.data.header import nearest
from gogooku3.data.quantities import Quantities
from gogooku3.data.source import Bars, ReadyColumn
from gogooku3.errors import SourceDataError

READY_FAMILY = "ready"
"""The family of features that come with the source."""


@dataclass(frozen=True)
class Candidate:
    """A feature that can be put into a dataset, wherever it comes from."""

    name: str
    role: str
    normalise: bool
    """Place it in its day's distribution."""
    compute: Callable[[Quantities], NDArray[np.float64]]
    """values_TN; NaN or infinite = unknown."""
    about: dict[str, Any]
    """What the dataset's header says of it."""


def candidates(bars: Bars, spec: SourceSpec, names: Sequence[str] | None) -> list[Candidate]:
    """The features wanted of a market, those of its source first.

    Args:
        bars: the market.
        spec: how it was read; it says whether the built-in features are wanted.
        names: which of them, in this order; None = all.

    Raises SourceDataError for a name that is not known, or that stands for two features.
    """
    found: dict[str, Candidate] = {}
    for ready in bars.ready_features:
        found[ready.name] = _of_source(ready)
    absent: dict[str, str] = {}
    there = {"sector"} if bars.sectors else set()
    if not np.isnan(bars.volume_TN).all():
        there.add("volume")
    for built_in in FEATURES if spec.computes_features else ():
        if built_in.name in found:
            raise SourceDataError(
                f"feature {built_in.name} is built in, and the source brings one of that name: "
                "give it another name in the spec"
            )
        lacking = sorted(built_in.needs - there)
        if lacking:
            absent[built_in.name] = " and ".join(f"{need}s" for need in lacking)
        else:
            found[built_in.name] = _built_in(built_in)
    if names is None:
        return list(found.values())
    if not names:
        raise SourceDataError("no feature is named; leave the names out for all of them")
    problems = []
    for name in names:
        if name in absent:
            problems.append(f"feature {name} needs {absent[name]}, which the table lacks")
        elif name not in found:
            problems.append(f"there is no feature {name!r}; {nearest(name, tuple(found))}")
    problems += [f"feature {name} is named twice" for name, n in Counter(names).items() if n > 1]
    if problems:
        raise SourceDataError("\n".join(problems))
    return [found[name] for name in names]


def _of_source(ready: ReadyColumn) -> Candidate:
    return Candidate(
        ready.name,
        ready.role,
        ready.normalise,
        lambda _: ready.read(),
        {
            "name": ready.name,
            "role": ready.role,
            "formula": ready.formula,
            "lookback_days": ready.lookback_days,
            "family": READY_FAMILY,
        },
    )


def _built_in(spec: FeatureSpec) -> Candidate:
    return Candidate(
        spec.name,
        spec.role,
        spec.role == "stock",
        spec.compute,
        {
            "name": spec.name,
            "role": spec.role,
            "formula": spec.formula,
            "lookback_days": spec.lookback_days,
            "family": spec.family,
        },
    )
