"""Which column of a table is what: the spec held against the table's names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from gogooku3.config.source import FeatureColumn, SourceColumns, SourceSpec
from gogooku3.data.header import nearest
from gogooku3.data.source.table import Table
from gogooku3.errors import SourceDataError

KEYS = ("date", "code")
PRICES = ("open", "high", "low", "close")
NUMBERS = (*PRICES, "volume")
SECTORS = ("sector33", "sector17", "sector")


@dataclass(frozen=True)
class ReadyFeature:
    """A ready-made feature: one column, under its name in the dataset."""

    column: str
    name: str
    role: Literal["stock", "market"]
    normalise: bool
    formula: str
    lookback_days: int


@dataclass(frozen=True)
class Assignment:
    """What is read of a table."""

    columns: dict[str, str]
    """date, code, open, ... -> name in the table; absent ones are left out."""
    features: tuple[ReadyFeature, ...]
    targets: dict[int, str]
    """Horizon -> name in the table."""


def assign(spec: SourceSpec, table: Table) -> Assignment:
    """Find everything the spec names. Raises SourceDataError naming all that is not there."""
    problems: list[str] = []
    columns: dict[str, str] = {}
    for name in SourceColumns.model_fields:
        wanted = getattr(spec.columns, name)
        if wanted is None and name not in spec.columns.model_fields_set and name in table.names:
            wanted = name
        if wanted is None:
            continue
        if wanted in table.names:
            columns[name] = wanted
        elif name not in KEYS or name in spec.columns.model_fields_set:
            problems.append(
                f"columns.{name}: there is no column {wanted!r}; {_hint(wanted, table)}"
            )
    lacking = [name for name in _required(spec) if name not in columns]
    lacking = [
        name for name in lacking if not any(p.startswith(f"columns.{name}:") for p in problems)
    ]
    if lacking:
        problems.append(
            f"the table lacks column {', '.join(lacking)}; it has: {', '.join(table.names)}; "
            "a source spec says which column is what"
        )
    for horizon, column in spec.targets.items():
        if column not in table.names:
            problems.append(
                f"targets.{horizon}: there is no column {column!r}; {_hint(column, table)}"
            )
    used = {*columns.values(), *spec.targets.values()}
    features = _features(spec, table, used, problems)
    if problems:
        raise SourceDataError("\n".join(problems))
    return Assignment(columns, tuple(features), dict(sorted(spec.targets.items())))


def _required(spec: SourceSpec) -> Sequence[str]:
    """date and code; and close, unless features and targets are all ready-made."""
    ready = bool(spec.targets) and not spec.computes_features
    return KEYS if ready else (*KEYS, "close")


def _features(
    spec: SourceSpec, table: Table, used: set[str], problems: list[str]
) -> list[ReadyFeature]:
    named = {feature.column for feature in spec.features if not feature.is_pattern}
    found: dict[str, ReadyFeature] = {}
    for place, feature in enumerate(spec.features):
        # A name that the table has is that name, whatever signs are in it.
        if feature.column in table.names:
            matched = [feature.column]
        elif not feature.is_pattern:
            problems.append(
                f"features[{place}]: there is no column {feature.column!r}; "
                + _hint(feature.column, table)
            )
            continue
        else:
            matched = [
                name
                for name in table.names
                if fnmatchcase(name, feature.column)
                and name in table.numeric
                and name not in used | named
                and not any(fnmatchcase(name, pattern) for pattern in spec.exclude)
            ]
            if not matched:
                problems.append(
                    f"features[{place}]: no numeric column without another use fits "
                    f"{feature.column!r}; the table has: {', '.join(table.names)}"
                )
        for column in matched:
            ready = _ready(feature, column)
            found.setdefault(ready.name, ready)
    return list(found.values())


def _ready(feature: FeatureColumn, column: str) -> ReadyFeature:
    return ReadyFeature(
        column=column,
        name=feature.name or column,
        role=feature.role,
        normalise=feature.normalise and feature.role == "stock",
        formula=feature.formula or f"column {column} of the source",
        lookback_days=feature.lookback_days,
    )


def _hint(name: str, table: Table) -> str:
    return nearest(name, table.names)
