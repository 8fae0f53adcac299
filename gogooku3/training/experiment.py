"""Everything a run is made of, built from a configuration and a dataset."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gogooku3.config import TrainConfig, edges_of
from gogooku3.data.epochs import steps_per_epoch
from gogooku3.data.header import check_data
from gogooku3.data.panel import Panel
from gogooku3.data.regimes import day_weights
from gogooku3.data.splits import Split, split_days
from gogooku3.errors import DatasetMismatchError
from gogooku3.graph import edge_feature_names
from gogooku3.losses import build_loss
from gogooku3.models import Model, ModelShape, build_model
from gogooku3.optim import Ema, build_optimizer, build_scheduler
from gogooku3.training.device import Precision, choose_precision, open_device
from gogooku3.training.epoch import Learner
from gogooku3.training.feed import Feed
from gogooku3.training.manifest import DatasetOrigin, Manifest, Signature, Stretch
from gogooku3.training.provenance import code_version, environment, process
from gogooku3.training.seeds import derive
from gogooku3.training.team import ALONE, Team


@dataclass
class Experiment:
    """A model on its data, before the first step."""

    config: TrainConfig
    panel: Panel
    split: Split
    device: torch.device
    precision: Precision
    shape: ModelShape
    model: Model
    feed: Feed
    learner: Learner | None
    """None for a model that doesn't learn by gradient."""
    team: Team

    @classmethod
    def open(
        cls, config: TrainConfig, dataset: Path, device_name: str, team: Team = ALONE
    ) -> Experiment:
        """Open the dataset and build the model.

        Raises:
            DatasetError: no dataset, damaged, or it does not fit the configuration.
            ConfigError: the model or device can't be had.
        """
        device = open_device(device_name)
        panel = Panel.open(dataset)
        problems = check_data(panel.header, config.data)
        if problems:
            raise DatasetMismatchError("; ".join(f"{p.pointer}: {p.message}" for p in problems))
        split = split_days(panel.calendar, config.data, first_day=panel.header.first_day)
        edges = edges_of(config.model)
        shape = ModelShape(
            features=config.data.features or panel.header.feature_names,
            lookback=config.data.lookback,
            horizons=config.data.horizons,
            sectors=panel.sectors,
            edge_features=0 if edges is None else len(edge_feature_names(edges)),
        )
        torch.manual_seed(derive(config.seed, "weights"))
        model = build_model(config.model, shape).to(device)
        feed = Feed(panel, config, device)
        precision = choose_precision(config.precision, device)
        experiment = cls(config, panel, split, device, precision, shape, model, feed, None, team)
        if model.learns == "gradient":
            experiment.learner = experiment._learner()
        return experiment

    @property
    def epochs(self) -> int:
        """Epochs to run: one for a model that doesn't learn by gradient."""
        return self.config.max_epochs if self.learner else 1

    @property
    def steps(self) -> int:
        """Optimiser steps of an epoch; 1 for a model without an optimiser."""
        return self.learner.steps(self.split.train_D) if self.learner else 1

    def kept_weights(self) -> AbstractContextManager[None]:
        """Within this the model holds the weights that are evaluated and saved: their running mean,
        where the configuration asks for one."""
        learner = self.learner
        return nullcontext() if learner is None or learner.ema is None else learner.ema.applied()

    def provenance(self) -> dict[str, Any]:
        """What the run is made of, for its record."""
        header = self.panel.header
        return {
            **process(self.device, self.precision),
            "ranks": self.team.size,
            "dataset": {
                "name": header.name,
                "fingerprint": header.fingerprint,
                "rows": header.rows,
                "stocks": header.stocks,
                "planted": None if header.planted is None else dict(header.planted),
            },
            "features": len(self.shape.features),
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "split": {name: part.model_dump(mode="json") for name, part in self._parts().items()},
            "steps_per_epoch": self.steps,
            "lag_days": 0,
        }

    def manifest(
        self, epoch: int, metrics: dict[str, float | None], selection_F: list[float] | None
    ) -> Manifest:
        """The manifest of a checkpoint of this run. Figures of the machine's pace are left out."""
        header = self.panel.header
        names = self.shape.features
        return Manifest(
            epoch=epoch,
            config=self.config,
            signature=Signature.of(self.shape),
            dataset=DatasetOrigin(
                name=header.name,
                fingerprint=header.fingerprint,
                normalisation=header.normalisation,
            ),
            market_scaling=dict(self.feed.scaling.mean_std),
            split=self._parts(),
            precision=self.precision,
            metrics={k: v for k, v in metrics.items() if not k.startswith("sys/")},
            selection=selection_F and dict(zip(names, selection_F, strict=True)),
            code_version=code_version(),
            environment=environment(),
        )

    def _parts(self) -> dict[str, Stretch]:
        calendar = self.panel.calendar
        return {
            name: Stretch(first=calendar[days[0]], last=calendar[days[-1]], days=len(days))
            for name in ("train", "valid", "test")
            if (days := self.split.days(name))
        }

    def _learner(self) -> Learner:
        config = self.config
        steps = steps_per_epoch(self.split.train_D, config.batch)
        decay, regime = config.optimizer.ema_decay, config.loss.regime
        weight_T = None if regime is None else day_weights(self.panel, regime, self.split)
        return Learner(
            config=config,
            model=self.model,
            loss=build_loss(config.loss, config.data.horizons, self.device),
            optimizer=build_optimizer(config.optimizer, self.model),
            schedule=build_scheduler(
                config.scheduler,
                lr=config.optimizer.lr,
                steps_per_epoch=steps,
                max_epochs=config.max_epochs,
            ),
            feed=self.feed,
            precision=self.precision,
            team=self.team,
            ema=None if decay is None else Ema(self.model, decay),
            weight_T=None if weight_T is None else weight_T.to(self.device),
        )
