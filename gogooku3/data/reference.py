"""The feature reference, generated from the table of features itself: `docs/features.md`.

`python -m gogooku3.data.reference > docs/features.md` writes it; a test keeps it true.
"""

from __future__ import annotations

import sys

from gogooku3.data.features import FEATURES

HEADER = """# Features

What `gogooku3 data build` computes, generated from the code that computes it
(`python -m gogooku3.data.reference`). Days are market days, `x[-n]` is x n days earlier. No value
reads a later day, and none depends on the price level: a split changes nothing. Each is then placed
within its day's universe (rank or z-score); a missing value becomes 0, the middle of the day.

| feature | role | formula | reads |
|---|---|---|---|
"""


def reference() -> str:
    """The whole reference as Markdown."""
    rows = [
        f"| `{feature.name}` | {feature.role} | {feature.formula.replace('|', chr(92) + '|')} "
        f"| {feature.lookback_days} days |"
        for feature in FEATURES
    ]
    return HEADER + "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
