"""DatasetSpec: what a client posts to `/v1/datasets`, a job that builds a dataset."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator
from pydantic_core import PydanticCustomError

from gogooku3.config.base import ConfigModel
from gogooku3.config.data import Horizon
from gogooku3.config.job import DatasetName, LabelKey, LabelValue, LimitsConfig
from gogooku3.config.source import FeatureName, SourceSpec

Normalisation = Literal["rank", "rank_gauss", "zscore"]
"""How a feature is placed in its day's cross-section."""
Storage = Literal["float32", "float16"]
"""How features are stored."""
HORIZONS = (1, 5, 10, 20)
"""Of the targets, when neither the caller nor the source says."""
SourcePath = Annotated[str, StringConstraints(min_length=1, max_length=500)]
"""Below the data root, where the server looks; it says in words what leads to no table."""


class SynthSource(ConfigModel):
    """A simulated market with a planted signal of known strength."""

    kind: Literal["synth"] = "synth"
    stocks: int = Field(default=300, ge=20, le=20_000)
    days: int = Field(default=900, ge=150, le=20_000)
    """Market days."""
    seed: int = Field(default=0, ge=0, le=2**63 - 1)
    """The same seed makes the same market."""


class FileSource(ConfigModel):
    """A table under the server's data root, the folder `data` of its home."""

    kind: Literal["file"] = "file"
    path: SourcePath
    """Name below the data root, with `/` between folders: a .parquet, .csv or .arrow file, or a
    folder of such files."""
    spec: SourceSpec = SourceSpec()
    """Which column of the table is what; the usual names need none."""

    @model_validator(mode="after")
    def _one_path(self) -> FileSource:
        if self.spec.path:
            raise PydanticCustomError(
                "path_twice",
                "the table is named by the source's own path; leave out the spec's",
                {"field": "spec/path"},
            )
        return self


class JQuantsSource(ConfigModel):
    """Daily bars from J-Quants, with the API key of the worker that builds. Days are kept below the
    server's data root, in `jquants`, and fetched once."""

    kind: Literal["jquants"] = "jquants"
    start: date
    """First day."""
    end: date | None = None
    """Last day; null = the last one that has bars when the job runs."""
    stocks_only: bool = True
    """Leave out what has no industry, such as funds and trusts."""
    requests_per_minute: int = Field(default=60, ge=1, le=600)
    """What the J-Quants plan allows."""

    @model_validator(mode="after")
    def _in_order(self) -> JQuantsSource:
        if self.end is not None and self.end < self.start:
            raise PydanticCustomError(
                "span_order",
                "end ({end}) must not lie before start ({start})",
                {"end": self.end.isoformat(), "start": self.start.isoformat(), "field": "end"},
            )
        return self


DatasetSource = Annotated[SynthSource | FileSource | JQuantsSource, Field(discriminator="kind")]


def _of_source(given: dict[str, Any]) -> tuple[int, ...]:
    source = given.get("source")
    ready = sorted(source.spec.targets) if isinstance(source, FileSource) else ()
    return tuple(ready) or HORIZONS


class DatasetConfig(ConfigModel):
    """What a dataset is made of and how."""

    source: DatasetSource
    horizons: tuple[Horizon, ...] = Field(default_factory=_of_source, min_length=1, max_length=16)
    """Forward horizons of the targets in market days, increasing. Not given = those of the source's
    ready-made targets, or 1, 5, 10 and 20."""
    features: tuple[FeatureName, ...] | None = Field(default=None, min_length=1, max_length=4096)
    """Names of the features to build, in this order; null = all there are."""
    top: int | None = Field(default=None, ge=8)
    """Each day's universe: so many of the most traded stocks; null = all that trade regularly."""
    normalisation: Normalisation = "rank"
    """How a feature is placed in its day's cross-section."""
    storage: Storage = "float32"
    """How features are stored; float16 halves the file."""

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
