"""A trained model at work: scores of a day, metrics of a split."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Literal

import pyarrow as pa
import torch

from gogooku3.data.panel import Panel
from gogooku3.data.scaling import MarketScaling
from gogooku3.data.splits import split_days
from gogooku3.errors import ConfigError, DatasetMismatchError
from gogooku3.models.base import Model
from gogooku3.training.device import Precision, deterministic
from gogooku3.training.evaluation import Evaluation, evaluate, predict
from gogooku3.training.feed import Feed
from gogooku3.training.manifest import Manifest


class ScoringModel:
    """A model with the manifest it was saved with; made by `gogooku3.load_model`."""

    def __init__(self, model: Model, manifest: Manifest, device: torch.device) -> None:
        self.model = model
        self.manifest = manifest
        self.device = device
        self._precision: Precision = "bf16" if manifest.precision == "bf16" else "fp32"

    def score(
        self,
        dataset: Path | str | Panel,
        day: date | None = None,
        horizon: int | None = None,
    ) -> pa.Table:
        """Scores of the universe on one day, best first.

        Args:
            dataset: a cache with the model's features.
            day: a day of its calendar; None = its last.
            horizon: the horizon to sort by; None = the model's first.

        Returns:
            date, code, rank (1 = best) and `score@h` for each horizon; no rows if no stock of
            the universe traded that day.

        Raises:
            DatasetMismatchError: features or sectors differ, no such day, or too little history.
        """
        panel = self._open(dataset)
        horizons = self.manifest.signature.horizons
        if horizon is not None and horizon not in horizons:
            raise DatasetMismatchError(f"the model scores horizons {list(horizons)}, not {horizon}")
        place = horizons.index(horizon) if horizon is not None else 0
        at = self._position(panel, day)
        feed = self._feed(panel, resident=False)  # one day reads little of the dataset
        with deterministic(self.device):
            batch = feed.batch([at])
            score_BNK = predict(self.model, batch, self._precision).score_BNK
        mask_N = batch.mask_BN[0].cpu()
        score_NK = score_BNK[0].float().cpu()[mask_N]
        stock_N = batch.stock_BN[0].cpu()[mask_N]
        order_N = torch.argsort(score_NK[:, place], descending=True, stable=True)
        codes = [panel.codes[stock] for stock in stock_N[order_N].tolist()]
        columns: dict[str, pa.Array] = {
            "date": pa.array([panel.calendar[at]] * len(codes), pa.date32()),
            "code": pa.array(codes, pa.string()),
            "rank": pa.array(range(1, len(codes) + 1), pa.int32()),
        }
        for k, h in enumerate(horizons):
            columns[f"score@{h}"] = pa.array(score_NK[order_N, k].numpy(), pa.float32())
        return pa.table(columns)

    def evaluate(
        self, dataset: Path | str | Panel, split: Literal["train", "valid"] = "valid"
    ) -> dict[str, float | None]:
        """Metrics of a split, named as in training (`valid/rank_ic@5`).

        On the dataset the model was trained on this gives the manifest's own figures. The test
        split is sealed: there is no way to look at it here.

        Raises:
            ConfigError: another split is asked for.
            DatasetMismatchError: the dataset doesn't fit the model.
            SplitError: the split leaves no days in this dataset.
        """
        return self.evaluation(dataset, split).metrics

    def evaluation(
        self, dataset: Path | str | Panel, split: Literal["train", "valid"] = "valid"
    ) -> Evaluation:
        """The scores and daily series behind `evaluate`; raises what it raises."""
        panel = self._open(dataset)
        config = self.manifest.config
        if split not in ("train", "valid"):
            raise ConfigError(f"the {split} split is sealed: only train and valid can be looked at")
        parts = split_days(panel.calendar, config.data, first_day=panel.header.first_day)
        feed = self._feed(panel)
        with deterministic(self.device):
            return evaluate(
                self.model,
                feed,
                parts.days(split),
                config,
                split=split,
                precision=self._precision,
            )

    def _feed(self, panel: Panel, *, resident: bool = True) -> Feed:
        """Batches with the features and the scaling of training, whatever else the panel has."""
        config = self.manifest.config
        data = config.data.model_copy(update={"features": self.manifest.signature.features})
        scaling = MarketScaling(self.manifest.market_scaling)
        config = config.model_copy(update={"data": data})
        return Feed(panel, config, self.device, scaling, resident=resident)

    def _open(self, dataset: Path | str | Panel) -> Panel:
        panel = dataset if isinstance(dataset, Panel) else Panel.open(Path(dataset))
        signature = self.manifest.signature
        known = panel.header.feature_names
        missing = [name for name in signature.features if name not in known]
        if missing:
            raise DatasetMismatchError(
                f"dataset {panel.header.name} lacks {len(missing)} of the model's "
                f"{len(signature.features)} features: {', '.join(missing[:5])}"
            )
        lacking = [h for h in signature.horizons if h not in panel.header.horizons]
        if lacking:
            raise DatasetMismatchError(
                f"dataset {panel.header.name} has the horizons {list(panel.header.horizons)}, "
                f"but the model scores {lacking}"
            )
        if panel.sectors != signature.sectors:
            raise DatasetMismatchError(
                f"dataset {panel.header.name} has {panel.sectors} sectors, but the model was "
                f"trained with {signature.sectors}"
            )
        return panel

    def _position(self, panel: Panel, day: date | None) -> int:
        calendar = list(panel.calendar)
        if day is not None and day not in calendar:
            raise DatasetMismatchError(
                f"{day} is not a trading day of {panel.header.name}, whose calendar runs from "
                f"{calendar[0]} to {calendar[-1]}"
            )
        at = len(calendar) - 1 if day is None else calendar.index(day)
        lookback = self.manifest.signature.lookback
        if at < lookback - 1:
            raise DatasetMismatchError(
                f"{calendar[at]} is day {at + 1} of {panel.header.name}, but the model looks back "
                f"over {lookback} days"
            )
        return at
