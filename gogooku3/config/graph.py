"""How the day's graph of stocks is made."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gogooku3.config.base import ConfigModel


class GraphConfig(ConfigModel):
    """How the day's graph is made, from returns up to that day only."""

    returns: Literal["raw", "residual"] = "raw"
    """Daily returns that are correlated: as they are, or less the market's times the stock's beta,
    so that an edge tells more than that both follow the market."""
    window: int = Field(default=60, ge=5, le=512)
    """Trading days of returns behind a correlation."""
    halflife: float = Field(default=20.0, gt=0.0)
    """Half-life in days of the exponential weights of that correlation."""
    shrinkage: float = Field(default=0.2, ge=0.0, lt=1.0)
    """Share of the correlation that is pulled to the day's mean correlation."""
    neighbours: int = Field(default=10, ge=0, le=64)
    """M: correlation neighbours per stock, largest |correlation| first, self excluded."""
    sector_neighbours: int = Field(default=5, ge=0, le=64)
    """Neighbours per stock from its own sector, most liquid first."""
    sector_coarse_neighbours: int = Field(default=0, ge=0, le=64)
    """Neighbours per stock from its own coarse sector, outside its finer one, most liquid first."""
    leader_neighbours: int = Field(default=0, ge=0, le=64)
    """Leaders per stock, each the most liquid of its sector: first its own sector's, then its own
    coarse sector's, then those of the other coarse sectors, most liquid first, self excluded. With
    1, a stock is linked to its sector's leader, that one to its coarse sector's, and that one to
    another coarse sector's. Above 0 the edges have one more feature that marks leaders."""
    sector_weight: float = Field(default=1.0, ge=0.0, le=10.0)
    """Value of the same-sector edge feature; 0 hides from the model which edges share a sector."""
    rebuild_days: int = Field(default=5, ge=1, le=252)
    """A graph serves this many trading days before it is built again."""

    @property
    def width(self) -> int:
        """Places for neighbours of each stock, of all kinds."""
        return (
            self.neighbours
            + self.sector_neighbours
            + self.sector_coarse_neighbours
            + self.leader_neighbours
        )
