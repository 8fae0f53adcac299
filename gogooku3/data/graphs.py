"""Where the graphs of a dataset are kept: `NAME.graphs/` beside `NAME.arrow`."""

from __future__ import annotations

import shutil
from pathlib import Path

GRAPHS_SUFFIX = ".graphs"


def graphs_folder(dataset: Path) -> Path:
    """The folder of a dataset's graphs, which may not exist."""
    return dataset.with_suffix(GRAPHS_SUFFIX)


def remove_graphs(dataset: Path) -> None:
    """Remove a dataset's graphs, if there are any. They can be made again.

    Raises OSError when they cannot be removed.
    """
    folder = graphs_folder(dataset)
    if folder.is_dir():
        shutil.rmtree(folder)
