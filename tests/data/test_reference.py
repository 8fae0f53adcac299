"""The feature reference is what the code says."""

from __future__ import annotations

from pathlib import Path

from gogooku3.data.features import FEATURES
from gogooku3.data.reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "features.md"


def test_page_is_up_to_date() -> None:
    command = "python -m gogooku3.data.reference > docs/features.md"
    assert PAGE.read_text() == reference(), f"write it again: {command}"


def test_every_feature_has_its_row() -> None:
    assert all(f"| `{feature.name}` |" in reference() for feature in FEATURES)
