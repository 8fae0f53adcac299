"""Where each value of an effective configuration came from."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

from gogooku3.config.base import ConfigModel

Source = Literal["request", "default", "derived"]


def config_sources(config: ConfigModel, given: Any) -> dict[str, Source]:
    """The source of every leaf of `config`, by dotted path.

    `given` is the object the client sent: a leaf found there is `request`; one that the client
    left out is `derived` when it was worked out from other values (its own default is null), and
    `default` otherwise. Lists are leaves, except lists of objects, which are addressed by their
    position.
    """
    sources: dict[str, Source] = {}
    _walk(config, given, "", sources)
    return sources


def _walk(value: ConfigModel, given: Any, path: str, sources: dict[str, Source]) -> None:
    is_object = isinstance(given, dict)
    for name, has_default in _fields(type(value)):
        here = f"{path}.{name}" if path else name
        child = getattr(value, name)
        below = given.get(name) if is_object else None
        if isinstance(child, ConfigModel):
            _walk(child, below, here, sources)
        elif isinstance(child, tuple) and child and isinstance(child[0], ConfigModel):
            for index, item in enumerate(child):
                listed = below[index] if isinstance(below, list | tuple) else None
                _walk(item, listed, f"{here}.{index}", sources)
        elif below is not None or (is_object and name in given and child is None):
            sources[here] = "request"
        else:
            sources[here] = "default" if has_default or child is None else "derived"


@cache
def _fields(model: type[ConfigModel]) -> tuple[tuple[str, bool], ...]:
    """The names of a model's fields, and whether their default is anything but null."""
    return tuple((name, field.default is not None) for name, field in model.model_fields.items())
