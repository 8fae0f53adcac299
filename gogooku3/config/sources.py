"""Where each value of an effective configuration came from."""

from __future__ import annotations

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


def _walk(value: Any, given: Any, path: str, sources: dict[str, Source]) -> None:
    for name, field in type(value).model_fields.items():
        here = f"{path}.{name}" if path else name
        child = getattr(value, name)
        is_given = isinstance(given, dict) and name in given and given[name] is not None
        below = given[name] if is_given else None
        if isinstance(child, ConfigModel):
            _walk(child, below, here, sources)
        elif isinstance(child, tuple) and child and isinstance(child[0], ConfigModel):
            for index, item in enumerate(child):
                listed = below[index] if isinstance(below, list | tuple) else None
                _walk(item, listed, f"{here}.{index}", sources)
        elif is_given or (isinstance(given, dict) and name in given and child is None):
            sources[here] = "request"
        else:
            is_derived = field.default is None and child is not None
            sources[here] = "derived" if is_derived else "default"
