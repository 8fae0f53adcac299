"""The paths of a configuration: `optimizer.lr`, `loss.terms.soft_spearman.weight`, and when each
exists and is read.

A list of parts told apart by `kind` is addressed by that kind, not by position; a dictionary by
its keys.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from gogooku3.config.train import TrainConfig

ANY_KEY = "*"
"""Stands for the key of a dictionary in a known path."""


@dataclass(frozen=True)
class Condition:
    """A value elsewhere in the configuration that decides whether a path is read."""

    path: str
    allowed: tuple[Any, ...]
    """It must be one of these ..."""
    is_excluded: bool = False
    """... or none of these."""

    def holds(self, value: Any) -> bool:
        """Whether the condition is met by this value at its path."""
        return (value in self.allowed) is not self.is_excluded

    def __str__(self) -> str:
        listed = " or ".join(repr(value) for value in self.allowed)
        return f"{self.path} is {'not ' if self.is_excluded else ''}{listed}"


@dataclass(frozen=True)
class KnownPath:
    """A path of the definition."""

    path: str
    kinds: tuple[Condition, ...] = ()
    """Kinds that must be chosen for the path to exist."""
    is_part: bool = False
    """Whether an object or a list of objects stands there, not a single value."""
    is_list: bool = False
    """Whether it is a list whose parts are addressed by their kind."""


_NOT_LEARNED = ("linear", "lightgbm", "reversal")
"""Kinds of model without gradient steps."""
_READ_IF = (
    ("model.gat.", Condition("model.gat.layers", (0,), True)),
    ("model.graph.", Condition("model.gat.layers", (0,), True)),
    ("model.fan.", Condition("model.fan.enabled", (True,))),
    *(
        (prefix, Condition("model.kind", _NOT_LEARNED, True))
        for prefix in (
            "optimizer.",
            "scheduler.",
            "batch.",
            "loss.terms.",
            "loss.regime.",
            "max_epochs",
            "early_stopping.patience",
            "early_stopping.min_delta",
            "compile",
        )
    ),
)
"""By beginning of the path: what must hold for the run to depend on it."""


def conditions_of(known: KnownPath) -> tuple[Condition, ...]:
    """All that must hold for a value at this path to change a run."""
    path = known.path
    read_if = [
        condition
        for prefix, condition in _READ_IF
        if path.startswith(prefix) and path != condition.path
    ]
    parts = path.split(".")
    if path.startswith("loss.terms.") and len(parts) > 3 and parts[3] != "weight":
        weight = ".".join([*parts[:3], "weight"])
        read_if.append(Condition(weight, (0, None), True))
    return (*known.kinds, *read_if)


def known_paths(model: type[BaseModel] = TrainConfig) -> dict[str, KnownPath]:
    """Every path of a configuration, whatever kinds are chosen, in the order of the definition."""
    found: dict[str, KnownPath] = {}
    for known in _walk(model, "", ()):
        earlier = found.get(known.path)
        found[known.path] = known if earlier is None else _either(earlier, known)
    return found


def find_path(path: str, known: Mapping[str, KnownPath]) -> KnownPath | None:
    """The known path that `path` is, a dictionary's key included; None when there is none."""
    if path in known:
        return known[path]
    above, _, _ = path.rpartition(".")
    entry = known.get(f"{above}.{ANY_KEY}")
    return entry and KnownPath(path, entry.kinds, entry.is_part)


def nearest_path(path: str, known: Mapping[str, KnownPath]) -> str | None:
    """The known path that `path` was probably meant to be."""
    near = difflib.get_close_matches(path, list(known), n=1, cutoff=0.6)
    if near:
        return near[0]
    last = path.rpartition(".")[2]
    named = [one for one in known if one.rpartition(".")[2] == last]
    return named[0] if named else None


def value_at(config: Any, path: str) -> Any:
    """The value at a path of a plain configuration; None when nothing stands there."""
    value = config
    for part in path.split("."):
        if isinstance(value, list | tuple):
            value = next((item for item in value if _is_kind(item, part)), None)
        else:
            value = value.get(part) if isinstance(value, Mapping) else None
    return value


def with_values(config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a plain configuration with other values at some paths.

    What is missing on the way is made. When a `kind` changes, whatever the configuration says that
    the new kind does not have is left out: it was said of the other kind.
    """
    changed: dict[str, Any] = copy.deepcopy(dict(config))
    kinds = [path for path in values if path.rpartition(".")[2] == "kind"]
    for path in (*kinds, *(path for path in values if path not in kinds)):
        _put(changed, path.split("."), values[path])
    for path in kinds:
        _drop_strange(changed, path, values)
    return changed


def _put(config: dict[str, Any], parts: list[str], value: Any) -> None:
    here: Any = config
    for place, part in enumerate(parts[:-1]):
        if isinstance(here, list):
            item = next((one for one in here if _is_kind(one, part)), None)
            if item is None:
                item = {"kind": part}
                here.append(item)
            here = item
            continue
        if here.get(part) is None:
            here[part] = [] if _KNOWN[".".join(parts[: place + 1])].is_list else {}
        here = here[part]
    here[parts[-1]] = value


def _drop_strange(config: dict[str, Any], path: str, values: Mapping[str, Any]) -> None:
    above = path.rpartition(".")[0]
    part = value_at(config, above) if above else config
    chosen = values[path]
    for name in list(part):
        inside = f"{above}.{name}"
        known = _KNOWN.get(inside)
        own = [c for c in known.kinds if c.path == path] if known else []
        if inside not in values and own and not all(c.holds(chosen) for c in own):
            del part[name]


def _walk(model: type[BaseModel], prefix: str, kinds: tuple[Condition, ...]) -> Iterator[KnownPath]:
    for name, field in model.model_fields.items():
        here = f"{prefix}{name}"
        yield from _walk_annotation(field.annotation, here, kinds)


def _walk_annotation(
    annotation: Any, here: str, kinds: tuple[Condition, ...]
) -> Iterator[KnownPath]:
    listed = _listed_models(annotation)
    if listed:
        yield KnownPath(here, kinds, is_part=True, is_list=True)
        for member in listed:
            yield from _walk_term(member, f"{here}.{kind_of(member)}", kinds)
        return
    models = _models(annotation)
    if not models:
        yield KnownPath(here, kinds)
        if any(get_origin(member) is dict for member in _members(annotation)):
            yield KnownPath(f"{here}.{ANY_KEY}", kinds)
        return
    yield KnownPath(here, kinds, is_part=True)
    for member in models:
        more = kinds
        if len(models) > 1:
            more = (*kinds, Condition(f"{here}.kind", (kind_of(member),)))
        for known in _walk(member, f"{here}.", more):
            is_kind = known.path == f"{here}.kind"
            yield KnownPath(known.path, kinds) if is_kind else known


def _walk_term(
    model: type[BaseModel], here: str, kinds: tuple[Condition, ...]
) -> Iterator[KnownPath]:
    return (known for known in _walk(model, f"{here}.", kinds) if known.path != f"{here}.kind")


def _either(one: KnownPath, other: KnownPath) -> KnownPath:
    """One path that two kinds share: either kind will do."""
    others = {condition.path: condition for condition in other.kinds}
    merged = []
    for condition in one.kinds:
        twin = others.get(condition.path)
        if twin is not None:
            allowed = tuple(dict.fromkeys((*condition.allowed, *twin.allowed)))
            merged.append(Condition(condition.path, allowed))
    return KnownPath(one.path, tuple(merged), one.is_part, one.is_list)


def kind_of(model: type[BaseModel]) -> str:
    """The `kind` of a part that is told apart by it."""
    return str(get_args(model.model_fields["kind"].annotation)[0])


def _members(annotation: Any) -> list[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin is Union or origin is UnionType:
        return [member for arg in get_args(annotation) for member in _members(arg)]
    return [annotation]


def _models(annotation: Any) -> list[type[BaseModel]]:
    return [m for m in _members(annotation) if isinstance(m, type) and issubclass(m, BaseModel)]


def _listed_models(annotation: Any) -> list[type[BaseModel]]:
    for member in _members(annotation):
        if get_origin(member) is tuple:
            return [one for one in _models(get_args(member)[0]) if "kind" in one.model_fields]
    return []


def _is_kind(item: Any, kind: str) -> bool:
    return isinstance(item, Mapping) and item.get("kind") == kind


_KNOWN = known_paths()
