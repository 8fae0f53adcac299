"""The configuration reference is what the code says."""

from __future__ import annotations

from pathlib import Path

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
