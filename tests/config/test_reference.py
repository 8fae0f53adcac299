"""The configuration reference is what the code says."""

from __future__ import annotations

from pathlib import Path

from gogooku3.config.dataset import JQuantsSource
from gogooku3.config.reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_page_is_up_to_date() -> None:
    assert PAGE.read_text() == reference(), (
        "run python -m gogooku3.config.reference > docs/configuration.md"
    )


def test_every_part_of_the_specification_is_described() -> None:
    page = reference()
    for key in ("config.model.gat.layers", "config.loss.terms[].bins", "config.scheduler.t_0"):
        assert f"`{key}`" in page


def test_every_key_of_a_dataset_is_described() -> None:
    page = reference()
    for key in ("storage", "normalisation", "replace", "source.spec.features[].formula"):
        assert f"| `{key}` |" in page
    for key in JQuantsSource.model_fields:
        assert f"| `source.{key}` |" in page


def test_no_two_parts_have_the_same_heading() -> None:
    headings = [line for line in reference().splitlines() if line.startswith("## ")]
    assert len(set(headings)) == len(headings)
