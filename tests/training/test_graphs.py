"""Trials of a search share the graphs beside their dataset."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gogooku3.config import TrainConfig
from gogooku3.graph import builder
from gogooku3.training.checkpoint import read_checkpoint
from gogooku3.training.trainer import train


def test_a_second_trial_builds_no_graph_and_learns_the_same_from_files(
    tiny: Path,
    tmp_path: Path,
    make_config: Callable[..., TrainConfig],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = Path(shutil.copy(tiny, tmp_path))
    build_graph, built = builder.build_graph, []

    def counted(*given: Any) -> Any:
        built.append(given[-1])
        return build_graph(*given)

    monkeypatch.setattr(builder, "build_graph", counted)

    def weights(name: str, **changes: Any) -> dict[str, Any]:
        out = tmp_path / name
        result = train(
            make_config(**changes), dataset=dataset, out_dir=out, on_event=lambda event: None
        )
        assert result.last_checkpoint is not None
        return read_checkpoint(result.last_checkpoint)[1]

    first = weights("first")
    assert len(built) == len(set(built)) > 5
    built.clear()
    weights("another", optimizer={"lr": 0.002}, seed=5)
    again = weights("again")
    assert not built
    assert all(bool((again[name] == value).all()) for name, value in first.items())
    shutil.rmtree(dataset.with_suffix(".graphs"))
    fresh = weights("fresh")
    assert built
    assert all(bool((fresh[name] == value).all()) for name, value in first.items())
