"""Every registered model runs through the same job: trained, saved, resumed, loaded, at work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gogooku3.config import TrainConfig
from gogooku3.models import MODELS
from gogooku3.training.checkpoint import load_model, read_checkpoint
from gogooku3.training.trainer import train

SMALL: dict[str, dict[str, Any]] = {
    "gat_only": {"hidden_size": 8, "graph": {"window": 10, "neighbours": 3}},
    "mlp": {"hidden_size": 8},
    "lstm": {"hidden_size": 8},
    "lightgbm": {"min_leaf_rows": 20, "trees": 30},
}


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_a_job_of_any_kind(
    kind: str, tiny: Path, tmp_path: Path, make_config: Callable[..., TrainConfig]
) -> None:
    changes: dict[str, Any] = {"max_epochs": 1}
    if kind != "atft_gat_fan":
        changes["model"] = {"kind": kind} | SMALL.get(kind, {})
    config = make_config(**changes)
    result = train(config, dataset=tiny, out_dir=tmp_path / "one", on_event=lambda e: None)
    assert result.outcome == "completed"
    assert result.best_checkpoint is not None
    loaded = load_model(result.best_checkpoint)
    scores = loaded.score(tiny)
    assert scores.num_rows > 20
    assert scores["score@1"].to_numpy().std() > 1e-6
    # A loaded model has the metrics of its manifest, figure by figure.
    manifest = read_checkpoint(result.best_checkpoint)[0]
    for name, value in loaded.evaluate(tiny).items():
        assert manifest.metrics[name] == value, name
    # A finished run, resumed, has nothing left to do, and ends the same.
    again = train(
        config,
        dataset=tiny,
        out_dir=tmp_path / "two",
        on_event=lambda e: None,
        resume=result.resume_state,
    )
    assert again.last_checkpoint is not None
    assert again.last_checkpoint.read_bytes() == result.best_checkpoint.read_bytes()
