"""DatasetSpec: what a client posts to `/v1/datasets`, a job that builds a dataset."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator
from pydantic_core import PydanticCustomError

from gogooku3.config.base import ConfigModel
from gogooku3.config.data import Horizon
from gogooku3.config.job import DatasetName, LabelKey, LabelValue, LimitsConfig

Normalisation = Literal["rank", "rank_gauss", "zscore"]
"""How a feature is placed in its day's cross-section."""
SourcePath = Annotated[
    str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^/\\\x00][^\\\x00]*$")
]


class SynthSource(ConfigModel):
    """A simulated market with a planted signal of known strength."""

    kind: Literal["synth"] = "synth"
    stocks: int = Field(default=300, ge=20, le=20_000)
    days: int = Field(default=900, ge=150, le=20_000)
    """Market days."""
    seed: int = Field(default=0, ge=0, le=2**63 - 1)
    """The same seed makes the same market."""


class FileSource(ConfigModel):
    """Daily bars in a file under the server's data root, the folder `data` of its home."""

    kind: Literal["file"] = "file"
    path: SourcePath
    """Name below the data root, with `/` between folders: .parquet, .csv or .arrow."""


DatasetSource = Annotated[SynthSource | FileSource, Field(discriminator="kind")]


class DatasetConfig(ConfigModel):
    """What a dataset is made of and how."""

    source: DatasetSource
    horizons: tuple[Horizon, ...] = Field(default=(1, 5, 10, 20), min_length=1, max_length=16)
    """Forward horizons of the targets in market days, increasing."""
    top: int | None = Field(default=None, ge=8)
    """Each day's universe: so many of the most traded stocks; null = all that trade regularly."""
    normalisation: Normalisation = "rank"
    """How a feature is placed in its day's cross-section."""

    @field_validator("horizons")
    @classmethod
    def _increasing(cls, horizons: tuple[int, ...]) -> tuple[int, ...]:
        if list(horizons) != sorted(set(horizons)):
            raise PydanticCustomError(
                "horizons_order",
                "horizons must increase without repeats, not {horizons}",
                {"horizons": list(horizons)},
            )
        return horizons


class BuildResources(ConfigModel):
    """What a build asks of the worker."""

    cpu_threads: int = Field(default=2, ge=1, le=256)
    """Threads of every arithmetic library in the builder, set before it starts."""


class DatasetSpec(DatasetConfig):
    """A dataset to be built, as a client asks for it."""

    name: DatasetName
    """What jobs call the dataset."""
    replace: bool = False
    """Replace the dataset of that name; refused while a job uses it."""
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict, max_length=64)
    """Key-value pairs to find and group jobs by."""
    priority: int = Field(default=0, ge=-1000, le=1000)
    """Higher runs earlier; equal priorities run in order of submission."""
    note: str | None = Field(default=None, max_length=10_000)
    """Free text for people."""
    resources: BuildResources = BuildResources()
    limits: LimitsConfig = LimitsConfig()

    @property
    def config(self) -> DatasetConfig:
        """What the dataset is made of, without what concerns the job."""
        return DatasetConfig.model_validate(
            {name: getattr(self, name) for name in DatasetConfig.model_fields}
        )
