"""SourceSpec: which column of a table is what, when the names are not the usual ones.

Neither Polars nor torch: the API takes a spec as a JSON object, the command line as YAML or JSON.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from gogooku3.config.base import ConfigModel
from gogooku3.config.data import Horizon
from gogooku3.config.problems import check
from gogooku3.errors import ConfigError

ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
FeatureName = Annotated[str, StringConstraints(min_length=1, max_length=100)]
PATTERN_SIGNS = frozenset("*?[")
"""What makes a name a pattern."""


def _as_list(given: Any) -> Any:
    return (given,) if isinstance(given, str) else given


class SourceColumns(ConfigModel):
    """Names, in the table, of what a market is made of. What is not given is looked for under its
    own name and may be missing, but for date and code (and close, when targets are computed);
    null = do not use that column even if there is one."""

    date: ColumnName = "date"
    """Dates, times or ISO text."""
    code: ColumnName = "code"
    """The stock, as text or number."""
    open: ColumnName | None = None
    high: ColumnName | None = None
    low: ColumnName | None = None
    close: ColumnName | None = None
    volume: ColumnName | None = None
    """Shares traded."""
    sector33: ColumnName | None = None
    """The finer sector."""
    sector17: ColumnName | None = None
    """The coarser sector."""
    sector: ColumnName | None = None
    """The sector where there is one level only."""

    @model_serializer(mode="wrap")
    def _as_given(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Only what was given: null says something else than nothing."""
        whole: dict[str, Any] = serialise(self)
        return {name: whole[name] for name in whole if name in self.model_fields_set}


class FeatureColumn(ConfigModel):
    """Ready-made feature columns. A bare string stands for `{column: ...}`."""

    column: ColumnName
    """Name in the table, or a pattern such as `returns_*` for all numeric columns it fits that
    have no other use."""
    name: FeatureName | None = None
    """What the feature is called in the dataset; null = as the column. Not with a pattern."""
    role: Literal["stock", "market"] = "stock"
    """market = the same value for every stock of a day, such as an index's volatility."""
    normalise: bool = True
    """Place a stock feature in its day's distribution; false = store the value as it is."""
    formula: str | None = Field(default=None, min_length=1, max_length=1000)
    """What is known of its making, for people."""
    lookback_days: int = Field(default=1, ge=1, le=10_000)
    """Market days up to and including t that the value reads."""

    @property
    def is_pattern(self) -> bool:
        """Whether `column` may fit several columns."""
        return not PATTERN_SIGNS.isdisjoint(self.column)

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        return {"column": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _named_alone(self) -> FeatureColumn:
        if self.name is not None and self.is_pattern:
            raise PydanticCustomError(
                "pattern_name",
                "the pattern {column} may fit several columns: they keep their names",
                {"column": self.column, "field": "name"},
            )
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        full = handler(schema)
        return {"anyOf": [{"type": "string", "minLength": 1, "maxLength": 200}, full]}


class SourceSpec(ConfigModel):
    """How a table is read."""

    path: Annotated[
        tuple[ColumnName, ...],
        Field(max_length=100_000),
        BeforeValidator(_as_list, json_schema_input_type=ColumnName | tuple[ColumnName, ...]),
    ] = ()
    """A file or folder, or several files; relative to the spec's own folder. Empty = given
    elsewhere."""
    columns: SourceColumns = SourceColumns()
    features: tuple[FeatureColumn, ...] = Field(default=(), max_length=4096)
    """Ready-made feature columns, in the dataset's order."""
    exclude: tuple[ColumnName, ...] = ()
    """Names or patterns that no pattern of `features` may take."""
    targets: dict[Horizon, ColumnName] = Field(default_factory=dict, max_length=16)
    """Ready-made forward returns: horizon in market days -> column. Never features."""
    builtin_features: bool | None = None
    """Compute the built-in features too; null = only when the table brings none."""

    @property
    def computes_features(self) -> bool:
        """Whether the built-in features are wanted."""
        return not self.features if self.builtin_features is None else self.builtin_features

    @model_validator(mode="after")
    def _each_column_once(self) -> SourceSpec:
        if self.builtin_features is False and not self.features:
            raise PydanticCustomError(
                "features_empty",
                "no features are left: name some, or set builtin_features to true",
                {"field": "features"},
            )
        given = {name: getattr(self.columns, name) for name in SourceColumns.model_fields}
        used = {column: f"columns.{name}" for name, column in given.items() if column is not None}
        for horizon, column in self.targets.items():
            if column in used:
                raise _used_twice(column, used[column], f"targets/{horizon}")
            used[column] = f"targets.{horizon}"
        names: set[str] = set()
        for place, feature in enumerate(self.features):
            if feature.is_pattern:
                continue
            # A target among the features would be the answer itself.
            if used.get(feature.column, "").startswith("targets."):
                raise _used_twice(feature.column, used[feature.column], f"features/{place}/column")
            name = feature.name or feature.column
            if name in names:
                raise PydanticCustomError(
                    "feature_repeat",
                    "feature {name} is given twice",
                    {"name": name, "field": f"features/{place}"},
                )
            names.add(name)
        return self


def read_source_spec(path: Path) -> SourceSpec:
    """The spec in a YAML or JSON file, its `path` resolved against the file's folder.

    Raises ConfigError naming every problem with its place.
    """
    try:
        given = parse_source_text(path.read_text(encoding="utf-8"), is_json=path.suffix == ".json")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    spec = check_source_spec(given, str(path))
    return spec.model_copy(update={"path": tuple(str(path.parent / name) for name in spec.path)})


def parse_source_text(text: str, *, is_json: bool) -> Any:
    """The value a YAML or JSON text stands for. Raises ValueError with the place of the fault."""
    if is_json:
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            where = f"line {error.lineno}, column {error.colno}"
            raise ValueError(f"is not JSON: {error.msg} at {where}") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"is not YAML: {' '.join(str(error).split())}") from None


def check_source_spec(given: Any, origin: str = "the source spec") -> SourceSpec:
    """A valid spec. Raises ConfigError naming every problem with its place."""
    if not isinstance(given, dict):
        raise ConfigError(f"{origin} must hold an object, not {type(given).__name__}")
    spec, problems = check(SourceSpec, given)
    if spec is None:
        listed = "\n".join(f"  {problem.pointer or '/'}: {problem.message}" for problem in problems)
        raise ConfigError(f"{origin} is not a valid source spec:\n{listed}")
    return spec


def _used_twice(column: str, use: str, field: str) -> PydanticCustomError:
    return PydanticCustomError(
        "column_used_twice",
        "column {column} is {use} already",
        {"column": column, "use": use, "field": field},
    )
