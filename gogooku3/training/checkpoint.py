"""Checkpoints: `weights.safetensors` and `manifest.json` in one stored zip, named `.gk3`.

No pickle: reading a foreign file can fail, but runs nothing.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from gogooku3.errors import CheckpointError
from gogooku3.models import build_model
from gogooku3.training.device import open_device
from gogooku3.training.durable import write_durably
from gogooku3.training.manifest import FORMAT_VERSION, Manifest
from gogooku3.training.scoring import ScoringModel

SUFFIX = ".gk3"
_WEIGHTS = "weights.safetensors"
_MANIFEST = "manifest.json"
_EPOCH_OF_ZIP = (1980, 1, 1, 0, 0, 0)
"""The time written on every entry: the same weights make the same file."""


@dataclass(frozen=True)
class WrittenCheckpoint:
    """A checkpoint on disk."""

    path: Path
    size: int
    sha256: str


def save_checkpoint(path: Path, model: nn.Module, manifest: Manifest) -> WrittenCheckpoint:
    """Write a model's weights and manifest; `path` is complete or untouched.

    Raises:
        OSError: the disk is full or not writable.
    """
    weights = {name: value.detach().cpu().contiguous() for name, value in _state(model).items()}
    entries = {_MANIFEST: manifest.model_dump_json(indent=1).encode(), _WEIGHTS: save(weights)}

    def write(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, content in entries.items():
                archive.writestr(zipfile.ZipInfo(name, _EPOCH_OF_ZIP), content)

    write_durably(path, write)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return WrittenCheckpoint(path, path.stat().st_size, digest)


def read_checkpoint(path: Path) -> tuple[Manifest, dict[str, Tensor]]:
    """A checkpoint's manifest and weights, on the CPU.

    Raises:
        CheckpointError: no file, not a checkpoint, damaged, or of a later version.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            content = {name: archive.read(name) for name in (_MANIFEST, _WEIGHTS)}
    except FileNotFoundError:
        raise CheckpointError(f"no checkpoint at {path}") from None
    except (zipfile.BadZipFile, KeyError, OSError, RuntimeError, NotImplementedError) as error:
        raise CheckpointError(f"{path} is not a whole gogooku3 checkpoint: {error}") from error
    manifest = _parse(path, content[_MANIFEST])
    try:
        return manifest, load(content[_WEIGHTS])
    except SafetensorError as error:
        raise CheckpointError(f"the weights in {path} are damaged: {error}") from error


def load_model(path: str | Path, device: str = "cpu") -> ScoringModel:
    """The model of a checkpoint, ready to score a dataset.

    Raises:
        CheckpointError: no file, not a checkpoint, damaged, or weights that don't fit the model.
        ConfigError: this machine has no such device.
    """
    path = Path(path)
    manifest, weights = read_checkpoint(path)
    # Fresh weights are overwritten at once; making them must not shift the caller's generator.
    with torch.random.fork_rng(devices=[]):
        model = build_model(manifest.config.model, manifest.signature.shape())
    _check_fit(path, _state(model), weights)
    model.load_state_dict(weights)
    target = open_device(device)
    return ScoringModel(model.to(target).eval(), manifest, target)


def _state(model: nn.Module) -> Mapping[str, Tensor]:
    state: Mapping[str, Tensor] = model.state_dict()
    return state


def _parse(path: Path, text: bytes) -> Manifest:
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "manifest.json"
        raise CheckpointError(
            f"the manifest in {path} is not valid: {where}: {first['msg']}"
        ) from (error)
    if manifest.format_version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format {manifest.format_version}; this version reads up to "
            f"{FORMAT_VERSION}: update gogooku3"
        )
    return manifest


def _check_fit(path: Path, own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    wrong = sorted(own.keys() ^ given.keys())
    wrong += [
        name
        for name in sorted(own.keys() & given.keys())
        # A model's extra state is of any length: it is checked by the model that takes it.
        if not name.endswith("_extra_state")
        and (own[name].shape != given[name].shape or own[name].dtype != given[name].dtype)
    ]
    if wrong:
        raise CheckpointError(
            f"the weights in {path} don't fit the model its manifest describes: "
            + ", ".join(wrong[:5])
        )
