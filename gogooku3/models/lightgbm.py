"""Gradient-boosted trees on the scored day's features, by LightGBM.

Shapes: B days, N stocks, R rows (stocks of all days), F features, K horizons.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gogooku3.config import LightGbmConfig
from gogooku3.data.batch import Batch
from gogooku3.errors import CheckpointError, ConfigError
from gogooku3.models.base import Learns, Model, ModelOutput, ModelShape


class LightGbm(Model):
    """One regression of the target per horizon (Ke et al., NeurIPS 2017); before `fit` all 0.

    The state is LightGBM's own text of each horizon's trees: no pickle. Same data, settings and
    seed make the same trees, with any number of threads. The report `selection_F` is each
    feature's share of what all splits gained.

    Raises ConfigError when the optional package is not installed.
    """

    learns: ClassVar[Learns] = "fit"

    def __init__(self, config: LightGbmConfig, shape: ModelShape) -> None:
        super().__init__()
        self._lightgbm = _package()
        self.config = config
        self.features, self.horizons = len(shape.features), shape.horizons
        # Drawn as other models draw their first weights: from torch's seeded generator.
        self.seed = int(torch.randint(0, 2**31 - 1, ()))
        self._boosters: list[Any] = []
        self._gain_F = torch.zeros(self.features)

    def forward(self, batch: Batch) -> ModelOutput:
        """Scores of one batch."""
        score_BNK = torch.zeros(batch.valid_BNK.shape)
        mask_BN = batch.mask_BN.cpu()
        x_RF = _rows(batch)
        if self._boosters and len(x_RF):
            columns = [booster.predict(x_RF, **self._threads()) for booster in self._boosters]
            score_BNK[mask_BN] = torch.from_numpy(np.stack(columns, axis=-1)).float()
        return ModelOutput(score_BNK.to(batch.x_BNTF.device), reports={"selection_F": self._gain_F})

    def fit(self, batches: Iterable[Batch], check: Callable[[], None] = lambda: None) -> None:
        """Grow the trees of each horizon on the rows whose target is known."""
        x_F, day_R, target_RK, valid_RK = self._collect(batches)
        bins = {"max_bin": self.config.max_bins, "feature_pre_filter": False, **self._settings()}
        whole = self._lightgbm.Dataset(x_F, params=bins, free_raw_data=True).construct()
        boosters = [
            self._grow(whole, day_R, target_RK[:, k], valid_RK[:, k], horizon, check)
            for k, horizon in enumerate(self.horizons)
        ]
        self._take(boosters)

    def get_extra_state(self) -> Tensor:
        """The trees of all horizons as text: uint8 of a JSON list."""
        text = json.dumps([booster.model_to_string() for booster in self._boosters])
        return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Take over the trees of `get_extra_state`. Raises CheckpointError."""
        try:
            texts = [str(text) for text in json.loads(state.cpu().numpy().tobytes())]
            boosters = [self._lightgbm.Booster(model_str=text) for text in texts]
        except (ValueError, TypeError, self._lightgbm.basic.LightGBMError) as error:
            raise CheckpointError(f"the trees cannot be read: {error}") from error
        widths = {booster.num_feature() for booster in boosters}
        if boosters and (len(boosters) != len(self.horizons) or widths != {self.features}):
            raise CheckpointError(
                f"the trees are of {len(boosters)} horizons and {sorted(widths)} features, not of "
                f"{len(self.horizons)} and {self.features}"
            )
        self._take(boosters)

    def _take(self, boosters: list[Any]) -> None:
        self._boosters = boosters
        gain_KF = np.zeros((len(boosters), self.features))
        for place, booster in enumerate(boosters):
            gain_KF[place] = booster.feature_importance("gain")
        total_K1 = gain_KF.sum(1, keepdims=True)
        share_KF = np.divide(gain_KF, total_K1, out=np.zeros_like(gain_KF), where=total_K1 > 0)
        gain_F = share_KF.mean(0) if len(boosters) else np.zeros(self.features)
        self._gain_F = torch.from_numpy(gain_F).float()

    def _collect(
        self, batches: Iterable[Batch]
    ) -> tuple[list[NDArray[np.float32]], NDArray[np.int64], Any, Any]:
        """The rows of all days: features by batch, and day, target and mask of each row."""
        parts: list[tuple[Any, ...]] = []
        for batch in batches:
            mask_BN = batch.mask_BN.cpu()
            day_BN = batch.day_B.cpu().unsqueeze(1).expand(mask_BN.shape)
            target_RK = batch.target_BNK.cpu()[mask_BN].numpy()
            valid_RK = batch.valid_BNK.cpu()[mask_BN].numpy()
            parts.append((_rows(batch), day_BN[mask_BN].numpy(), target_RK, valid_RK))
        features, days, targets, known = zip(*parts, strict=True)
        return (
            list(features),
            np.concatenate(days),
            np.concatenate(targets),
            np.concatenate(known),
        )

    def _grow(
        self,
        whole: Any,
        day_R: NDArray[np.int64],
        target_R: NDArray[np.float32],
        valid_R: NDArray[np.bool_],
        horizon: int,
        check: Callable[[], None],
    ) -> Any:
        training_R, held_R = valid_R, np.zeros_like(valid_R)
        if self.config.stop_after is not None:
            days_D = np.unique(day_R)
            first = days_D[len(days_D) - max(1, round(len(days_D) * self.config.held_out))]
            training_R, held_R = valid_R & (day_R + horizon < first), valid_R & (day_R >= first)

        def part(rows_R: NDArray[np.bool_]) -> Any:
            subset = whole.subset(np.flatnonzero(rows_R)).construct()
            return subset.set_label(target_R[rows_R])

        if not training_R.any():
            raise ConfigError(f"no training day is left to fit horizon {horizon} on")
        callbacks = [_Check(check)]
        held = [part(held_R)] if held_R.any() else []
        if held:
            callbacks.append(self._lightgbm.early_stopping(self.config.stop_after, verbose=False))
        booster = self._lightgbm.train(
            self._settings(),
            part(training_R),
            num_boost_round=self.config.trees,
            valid_sets=held,
            callbacks=callbacks,
        )
        # Read back, so that a fitted model and a loaded one are the same thing.
        kept = booster.best_iteration if held else -1
        return self._lightgbm.Booster(model_str=booster.model_to_string(num_iteration=kept))

    def _settings(self) -> dict[str, Any]:
        config = self.config
        return {
            "objective": "regression",
            "metric": "l2",
            "learning_rate": config.learning_rate,
            "num_leaves": config.leaves,
            "min_data_in_leaf": config.min_leaf_rows,
            "feature_fraction": config.feature_share,
            "bagging_fraction": config.row_share,
            "bagging_freq": 1,
            "lambda_l2": config.l2,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
            **self._threads(),
        }

    def _threads(self) -> dict[str, int]:
        return {"num_threads": torch.get_num_threads()}


class _Check:
    """A callback between two trees."""

    before_iteration = True

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check

    def __call__(self, environment: Any) -> None:
        self._check()


def _rows(batch: Batch) -> NDArray[np.float32]:
    """x_RF of the scored day, real stocks only."""
    x_RF: NDArray[np.float32] = batch.x_BNTF[:, :, -1][batch.mask_BN].float().cpu().numpy()
    return x_RF


def _package() -> ModuleType:
    try:
        return importlib.import_module("lightgbm")
    except ImportError as error:
        raise ConfigError(
            "model.kind = lightgbm needs the optional package on the worker: "
            "pip install 'gogooku3[lightgbm]'"
        ) from error
