"""The resume state: all that a killed run needs to end with the same bits. Internal to a server.

Random numbers are not in it: each step's come from the seed and the step (see `seeds`).
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from gogooku3.config import TrainConfig
from gogooku3.errors import CheckpointError, ConfigError, DatasetMismatchError
from gogooku3.training.best import BestState
from gogooku3.training.durable import write_durably

FILE_NAME = "resume.pt"
_VERSION = 1


@dataclass(frozen=True)
class ResumeState:
    """A run at a step boundary."""

    config: str
    """The effective configuration, as JSON."""
    fingerprint: str
    """The dataset's."""
    epoch: int
    """Complete epochs, evaluated and reported."""
    step: int
    """Optimiser steps done in the epoch after those."""
    weights: dict[str, Any]
    optimizer: dict[str, Any] | None
    statistics: dict[str, Any] | None
    """Of the epoch under way; None between epochs."""
    best: BestState
    events: list[str] = field(default_factory=list)
    """Epoch and checkpoint events so far, as JSON lines."""
    selection: list[list[float]] = field(default_factory=list)
    """Mean weight of each feature per complete epoch."""
    attention: list[list[float]] = field(default_factory=list)
    """Mean attention by age per complete epoch."""
    ema: dict[str, Any] | None = None
    """The running mean of the weights."""
    version: int = _VERSION


def save_resume(path: Path, state: ResumeState) -> None:
    """Write the state; `path` is complete or as it was. Raises OSError."""
    content = {item.name: getattr(state, item.name) for item in fields(state)}
    write_durably(path, lambda file: torch.save(content, file))


def load_resume(path: Path, config: TrainConfig, fingerprint: str) -> ResumeState:
    """The state at `path`, on the CPU.

    Raises:
        CheckpointError: no file, or damaged, or of another version.
        ConfigError: it belongs to another configuration.
        DatasetMismatchError: it belongs to another dataset.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        state = ResumeState(**content)
    except FileNotFoundError:
        raise CheckpointError(f"no resume state at {path}") from None
    except (RuntimeError, EOFError, TypeError, OSError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} is not a whole resume state: {error}") from error
    if state.version != _VERSION:
        raise CheckpointError(f"{path} was written by another version of the trainer")
    if TrainConfig.model_validate_json(state.config) != config:
        raise ConfigError(f"{path} belongs to a run with another configuration")
    if state.fingerprint != fingerprint:
        raise DatasetMismatchError(
            f"{path} belongs to a run on another dataset ({state.fingerprint[:12]}, "
            f"not {fingerprint[:12]})"
        )
    return state
