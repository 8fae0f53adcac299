"""The feature reference, generated from the table of features itself: `docs/features.md`.

`python -m gogooku3.data.reference > docs/features.md` writes it; a test keeps it true.
"""

from __future__ import annotations

import sys
from itertools import groupby

from gogooku3.data.features import FEATURES

COLUMNS = "| feature | role | formula | reads | needs |\n|---|---|---|---|---|\n"
HEADER = """# Features

What `gogooku3 data build` computes, generated from the code that computes it
(`python -m gogooku3.data.reference`). Days are market days, `x[-n]` is x n days earlier. No value
reads a later day, and none depends on the price level: a split changes nothing.

A `stock` feature is then placed within its day's universe (rank, rank-Gauss or z-score cut at 5); a
missing value becomes 0, the middle of the day. A `market` feature is the same for every stock of a
day, so it is stored as it is and scaled when it is read, by its mean and standard deviation on the
training days only. Features that need sectors or volumes are left out when the source has none.

"""


def reference() -> str:
    """The whole reference as Markdown."""
    parts = [HEADER, f"There are {len(FEATURES)}.\n"]
    for family, features in groupby(FEATURES, key=lambda feature: feature.family):
        rows = [
            f"| `{feature.name}` | {feature.role} | {_escaped(feature.formula)} "
            f"| {feature.lookback_days} days | {', '.join(sorted(feature.needs)) or 'prices'} |"
            for feature in features
        ]
        parts.append(f"\n## {family.capitalize()}\n\n{COLUMNS}" + "\n".join(rows) + "\n")
    return "".join(parts)


def _escaped(formula: str) -> str:
    return formula.replace("|", chr(92) + "|")


if __name__ == "__main__":
    sys.stdout.write(reference())
