"""A written checkpoint is tried before anybody is told of it."""

from __future__ import annotations

from pathlib import Path

import torch

from gogooku3.errors import CheckpointError
from gogooku3.training.checkpoint import load_model
from gogooku3.training.device import deterministic
from gogooku3.training.evaluation import predict
from gogooku3.training.experiment import Experiment


def prove(path: Path, experiment: Experiment) -> None:
    """The file on the disk, loaded anew, scores the last validation day as the live model does, bit
    for bit. Raises CheckpointError."""
    batch = experiment.feed.batch([experiment.split.valid_D[-1]])
    loaded = load_model(path, str(experiment.device))
    # Of torch-geometric's sums (`gat.impl = "pyg"`) a GPU takes the order as it comes.
    with deterministic(experiment.device, on_gpu=True):
        own = predict(experiment.model, batch, experiment.precision)
        again = predict(loaded.model, batch, experiment.precision)
    if not torch.equal(own.score_BNK, again.score_BNK):
        raise CheckpointError(f"{path} does not reproduce the scores of the model it holds")
