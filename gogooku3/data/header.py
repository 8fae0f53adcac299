"""A dataset's header: everything known of a cache without touching its rows. Needs pyarrow only.

The header is a JSON object in the Arrow schema's metadata, with its own checksum beside it.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa

from gogooku3.config import DataConfig, Problem
from gogooku3.data.report import Finding
from gogooku3.data.splits import split_days
from gogooku3.errors import (
    DatasetCorruptError,
    DatasetError,
    DatasetNotFoundError,
    DatasetVersionError,
    SplitError,
)

LAYOUT_VERSION = 2
HEADER_KEY = b"gogooku3"
CHECKSUM_KEY = b"gogooku3.sha256"
SUFFIX = ".arrow"


@dataclass(frozen=True)
class FeatureInfo:
    """One column of the features."""

    name: str
    role: str
    """`stock`, or `market` = the same value for every stock of a day."""
    formula: str
    lookback_days: int
    """Trading days up to and including t that the value may read."""
    missing_share: float
    """Share of the universe's rows without a value (stored as 0; market features as NaN)."""
    family: str
    """What kind of feature it is, such as `volatility`; `ready` = it came with the source."""


@dataclass(frozen=True)
class DatasetHeader:
    """What a cache says about itself."""

    name: str
    """The file's stem: the name by which jobs and the API know the dataset."""
    path: Path
    rows: int
    stocks: int
    calendar: tuple[date, ...]
    """All market days of the source."""
    features: tuple[FeatureInfo, ...]
    horizons: tuple[int, ...]
    """Forward horizons of the targets in trading days."""
    fingerprint: str
    """SHA-256 over the calendar and the columns' fingerprints."""
    fingerprints: Mapping[str, str]
    """SHA-256 of each column; of features and targets, of each one (`features.return_1`)."""
    size_bytes: int
    layout_version: int
    normalisation: str
    storage: str
    """float32 or float16: how the features are stored."""
    universe: Mapping[str, Any]
    """top, min_days, window, first_day, mean_size, members."""
    planted: Mapping[str, Any] | None
    """Synthetic markets: what was planted, with the rank IC per horizon under `rank_ic`."""
    source: Mapping[str, Any]
    """file (name only), size, sha256."""
    quality: Mapping[str, int]
    """Counts of what was odd in the source, by kind."""
    report: tuple[Finding, ...]
    """What the checks of the source found, the most severe first."""
    created_at: str
    code_version: str

    def __hash__(self) -> int:
        # Mappings have no hash; the fingerprint stands for what they hold.
        return hash((self.path, self.fingerprint))

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names in the order of the features' last axis."""
        return tuple(feature.name for feature in self.features)

    @property
    def first_day(self) -> int:
        """Position in the calendar of the first day that has a universe."""
        return int(self.universe["first_day"])


def read_header(path: Path) -> DatasetHeader:
    """The header of the cache at `path`; reads metadata only, never rows.

    Raises DatasetNotFoundError, DatasetCorruptError (not a cache, truncated, damaged) or
    DatasetVersionError (another layout).
    """
    if not path.is_file():
        raise DatasetNotFoundError(
            f"no dataset at {path}; `gogooku3 data synth` or `gogooku3 data build` makes one"
        )
    try:
        with pa.memory_map(str(path)) as mapped, pa.ipc.open_file(mapped) as reader:
            metadata = reader.schema.metadata or {}
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DatasetCorruptError(
            f"{path} is not a complete Arrow file ({_first_line(error)}): it is truncated or "
            "damaged; build it again"
        ) from error
    return parse_header(path, metadata)


def parse_header(path: Path, metadata: Mapping[bytes, bytes]) -> DatasetHeader:
    """The header held by an Arrow schema's metadata. Raises as `read_header`."""
    text = metadata.get(HEADER_KEY)
    if text is None:
        raise DatasetCorruptError(f"{path} is an Arrow file, but not a gogooku3 dataset")
    if metadata.get(CHECKSUM_KEY) != checksum(text):
        raise DatasetCorruptError(f"the header of {path} is damaged; build the dataset again")
    given = json.loads(text)
    version = given.get("layout_version")
    if version != LAYOUT_VERSION:
        raise DatasetVersionError(
            f"{path} has layout version {version}, this program reads {LAYOUT_VERSION}: "
            "build the dataset again"
        )
    return DatasetHeader(
        name=path.stem,
        path=path,
        rows=given["rows"],
        stocks=given["stocks"],
        calendar=tuple(date.fromisoformat(day) for day in given["calendar"]),
        features=tuple(FeatureInfo(**feature) for feature in given["features"]),
        horizons=tuple(given["horizons"]),
        fingerprint=given["fingerprint"],
        fingerprints=given["fingerprints"],
        size_bytes=path.stat().st_size,
        layout_version=version,
        normalisation=given["normalisation"],
        storage=given["storage"],
        universe=given["universe"],
        planted=given["planted"],
        source=given["source"],
        quality=given["quality"],
        report=tuple(map(Finding.from_json, given["report"])),
        created_at=given["created_at"],
        code_version=given["code_version"],
    )


def checksum(text: bytes) -> bytes:
    """What stands under CHECKSUM_KEY for a header of these bytes."""
    return hashlib.sha256(text).hexdigest().encode()


def list_datasets(caches: Path) -> list[DatasetHeader]:
    """Headers of the readable datasets in a folder, by name. Others are left out: opening one of
    those by name says what is wrong with it."""
    headers = []
    for path in sorted(caches.glob(f"*{SUFFIX}")):
        try:
            headers.append(read_header(path))
        except DatasetError:
            continue
    return headers


def check_data(header: DatasetHeader, data: DataConfig) -> list[Problem]:
    """What stops a configuration from being used on a dataset; pointers start at the config."""
    problems = [
        Problem(
            f"/data/horizons/{place}",
            "horizon-unknown",
            f"dataset {header.name!r} has no {horizon}-day returns; "
            f"it has: {', '.join(map(str, header.horizons))}",
        )
        for place, horizon in enumerate(data.horizons)
        if horizon not in header.horizons
    ]
    for place, name in enumerate(data.features or ()):
        if name not in header.feature_names:
            problems.append(
                Problem(
                    f"/data/features/{place}",
                    "feature-unknown",
                    f"dataset {header.name!r} has no feature {name!r}; "
                    + nearest(name, header.feature_names),
                )
            )
    try:
        split_days(header.calendar, data, first_day=header.first_day)
    except SplitError as error:
        problems.append(Problem("/data/split", SplitError.code, str(error)))
    return problems


def nearest(name: str, known: tuple[str, ...]) -> str:
    """A hint for an unknown name: the nearest known one, or all of them."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(known)}"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
