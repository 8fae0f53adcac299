"""Training finds what is there, and nothing where nothing is.

The market is small and its signal strong, so that a few seconds of training on one core tell.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gogooku3.config import TrainConfig
from gogooku3.data.build import build
from gogooku3.data.header import read_header
from gogooku3.data.synth import synthesise
from gogooku3.training.trainer import train

DAYS = 400
NOTHING = 3.0
"""Standard errors within which a rank IC is no sign of anything."""


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = synthesise(stocks=100, days=DAYS, seed=0, signal=0.3)
    out = tmp_path_factory.mktemp("market") / "planted.arrow"
    build(made.table, name="planted", out=out, planted=made.planted)
    return out


def config_for(market: Path, **changes: Any) -> TrainConfig:
    calendar = read_header(market).calendar
    given: dict[str, Any] = {
        "max_epochs": 2,
        "data": {
            "lookback": 6,
            "horizons": (1,),
            "split": {"train_end": calendar[280], "valid_end": calendar[-1]},
        },
        "model": {"hidden_size": 16, "fan": {"top_k": 2}},
        "optimizer": {"lr": 0.005},
        "batch": {"days_per_step": 2},
    }
    return TrainConfig.model_validate(given | changes)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["atft_gat_fan", "linear"])
def test_the_planted_signal_is_recovered(market: Path, tmp_path: Path, kind: str) -> None:
    planted = read_header(market).planted
    assert planted is not None
    assert planted["rank_ic"]["1"] > 0.2
    config = config_for(market)
    if kind != "atft_gat_fan":
        config = config_for(market, model={"kind": kind})
    result = train(config, dataset=market, out_dir=tmp_path, on_event=lambda event: None)
    found = result.best_metrics["valid/rank_ic@1"]
    assert found is not None
    assert found >= 0.6 * planted["rank_ic"]["1"]
    t = result.best_metrics["valid/rank_ic_t@1"]
    assert t is not None
    assert t > 10


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["atft_gat_fan", "linear"])
def test_shuffled_targets_teach_nothing(market: Path, tmp_path: Path, kind: str) -> None:
    """What is then found in validation was let in by a leak."""
    config = config_for(market, max_epochs=1)
    if kind != "atft_gat_fan":
        config = config_for(market, model={"kind": kind})
    data = config.data.model_copy(update={"shuffle_targets": True})
    config = config.model_copy(update={"data": data})
    result = train(config, dataset=market, out_dir=tmp_path, on_event=lambda event: None)
    t = result.best_metrics["valid/rank_ic_t@1"]
    assert t is not None
    assert abs(t) < NOTHING
