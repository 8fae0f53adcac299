"""gogooku3: train ATFT-GAT-FAN on a market's Arrow cache. Config in, events out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gogooku3.training.checkpoint import load_model

__all__ = ["load_model"]


def __getattr__(name: str) -> Any:
    # Loaded on first use: the server and the client import this package without torch.
    if name == "load_model":
        from gogooku3.training.checkpoint import load_model

        return load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
