"""torch-geometric, the oracle of graph attention."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="session")
def reference_gatv2() -> Callable[..., Any]:
    """torch-geometric's GATv2Conv. Its import uses a deprecated part of torch, which warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from torch_geometric.nn import GATv2Conv
    conv: Callable[..., Any] = GATv2Conv
    return conv
