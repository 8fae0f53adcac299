"""Graphs kept beside their dataset, so that a day's graph is built once for all runs.

`NAME.graphs/KEY/DATE.safetensors` stands beside `NAME.arrow`. The key is made of the dataset's
fingerprint and of the settings that make a graph: trials that share those share the files, and no
file is ever changed. A file is complete or absent (temporary file, rename), and carries a SHA-256
of its content; one that is damaged is built again, never trusted.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from gogooku3.config import GraphConfig
from gogooku3.data.graphs import graphs_folder
from gogooku3.data.header import DatasetHeader
from gogooku3.graph.edges import DayGraph

logger = logging.getLogger(__name__)

VERSION = 1
"""Of what graphs are: raised when the same settings make other graphs."""
SUFFIX = ".safetensors"
_CHECKSUM = "sha256"
_ELSEWHERE = {"sector_weight", "rebuild_days"}
"""Settings that are read where a graph is used, not where it is made."""
_DTYPES = {
    "neighbour_NM": torch.int32,
    "correlation_NM": torch.float32,
    "leads_NM": torch.bool,
    "volatility_N": torch.float32,
}


class GraphStore:
    """The graphs of one dataset under one configuration.

    A folder that cannot be written to costs a warning, once, and the building: graphs are then kept
    in memory only.
    """

    def __init__(self, header: DatasetHeader, config: GraphConfig) -> None:
        self._calendar = header.calendar
        self._shapes = {
            field.name: (header.stocks, config.width)[: 2 if field.name.endswith("_NM") else 1]
            for field in fields(DayGraph)
        }
        self.folder = graphs_folder(header.path) / key(header.fingerprint, config)
        self._is_writable = True

    def path(self, day: int) -> Path:
        """The file of the graph that is built on a day."""
        return self.folder / f"{self._calendar[day].isoformat()}{SUFFIX}"

    def read(self, day: int) -> DayGraph | None:
        """The graph that was built on a day, a view of its file; None = build it."""
        path = self.path(day)
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError, ValueError, RuntimeError) as error:
            logger.warning("%s is damaged (%s): it is built again", path, error)
            return None
        problem = self._problem(path, tensors, metadata)
        if problem:
            logger.warning("%s is damaged (%s): it is built again", path, problem)
            return None
        return DayGraph(**tensors)

    def keep(self, day: int, graph: DayGraph) -> DayGraph:
        """Write a graph; the same graph, as a view of its file where that could be written, whose
        memory is shared by all who read it. Builders of a graph write the same, whoever is last."""
        if not self._is_writable:
            return graph
        path = self.path(day)
        tensors = {name: getattr(graph, name).contiguous() for name in _DTYPES}
        content = save(tensors, {_CHECKSUM: _checksum(tensors, path)})
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, content)
        except OSError as error:
            self._is_writable = False
            logger.warning(
                "graphs cannot be kept in %s (%s): they are built in memory, by every run again",
                path.parent,
                error.strerror,
            )
            return graph
        return self.read(day) or graph

    def _problem(
        self, path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
    ) -> str | None:
        if tensors.keys() != _DTYPES.keys():
            return f"it holds {', '.join(sorted(tensors))}"
        for name, tensor in tensors.items():
            if tensor.dtype != _DTYPES[name] or tuple(tensor.shape) != self._shapes[name]:
                return f"{name} is {tensor.dtype} {list(tensor.shape)}"
        if metadata.get(_CHECKSUM) != _checksum(tensors, path):
            return "its checksum differs"
        return None


def key(fingerprint: str, config: GraphConfig) -> str:
    """The name of a folder of graphs: of the dataset, and of the settings that make a graph."""
    made_of = {
        "version": VERSION,
        "dataset": fingerprint,
        "graph": config.model_dump(mode="json", exclude=_ELSEWHERE),
    }
    text = json.dumps(made_of, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _checksum(tensors: Mapping[str, Tensor], path: Path) -> str:
    """Of the content, the key and the day: a file in another's place is not taken for it."""
    digest = hashlib.sha256(f"{path.parent.name}/{path.name}".encode())
    for name in _DTYPES:
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()


def _write(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        # Not flushed to the disk: what a power cut leaves half written has the wrong checksum.
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
