"""What the API answers about datasets. Additive changes only: clients rely on every name here."""

from __future__ import annotations

from datetime import date
from typing import Any

from app.api.answers import Answer


class CheckedDataset(Answer):
    """What `validate_only` answers: the build as it would be, not stored."""

    valid: bool = True
    name: str
    config: dict[str, Any]
    config_sources: dict[str, str]
    resources: dict[str, Any]
    limits: dict[str, Any]


class DatasetFeature(Answer):
    """A column the model may see."""

    name: str
    role: str
    """`stock` or `market`."""
    formula: str
    lookback_days: int
    """Trading days up to and including the scored one that the value may read."""
    missing_share: float
    """Share of the universe's rows without a value."""
    family: str
    """What kind of feature it is, such as `volatility`; `ready` = it came with the source."""


class DatasetFinding(Answer):
    """What one check found in the table a dataset was built from."""

    check: str
    severity: str
    """`error`, `warning` or `info`."""
    count: int
    share: float
    examples: list[str]


class DatasetSummary(Answer):
    """A dataset without its list of features."""

    id: str
    rows: int
    stocks: int
    days: int
    first_day: date | None
    last_day: date | None
    features_count: int
    horizons: list[int]
    fingerprint: str
    size_bytes: int


class DatasetAnswer(DatasetSummary):
    """A dataset as its file's header describes it."""

    features: list[DatasetFeature]
    layout_version: int
    normalisation: str
    storage: str
    """float32 or float16: how the features are stored."""
    fingerprints: dict[str, str]
    """SHA-256 of each column; of features and targets, of each one (`features.return_1`)."""
    report: list[DatasetFinding]
    """What the checks of the source found, the most severe first."""
    universe: dict[str, Any]
    planted: dict[str, Any] | None
    """What a simulated market holds, with the rank IC per horizon under `rank_ic`."""
    source: dict[str, Any]
    """Name, size and sha256 of the file it was built from."""
    quality: dict[str, int]
    """Counts of what was odd in the source, by kind."""
    created_at: str
    code_version: str
    job_id: str | None
    """The job that built it; null when it came another way."""


class DatasetCoverage(Answer):
    """Counts of stocks, one for each day of the dataset."""

    days: list[date]
    stocks: list[int]
    """With a row on that day."""
    members: list[int]
    """In the universe on that day: these are scored."""
    known: dict[str, list[int]]
    """Members whose forward return is known, by horizon."""


class DatasetPage(Answer):
    """The datasets under the server's home, by name."""

    items: list[DatasetSummary]
    next_page_token: str | None
