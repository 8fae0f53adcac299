"""The configuration reference, generated from the definition itself: `docs/configuration.md`.

`python -m gogooku3.config.reference > docs/configuration.md` writes it; a test keeps it true.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from gogooku3.config.dataset import DatasetSpec
from gogooku3.config.job import JobSpec
from gogooku3.config.sweep import SweepSpec

HEADER = """# Configuration

Every key of the body of `POST /v1/jobs`, and after those of `POST /v1/sweeps` and of
`POST /v1/datasets`, generated from the code that checks it (`python -m gogooku3.config.reference`).
What stands under `source.spec` is also what the file of `gogooku3 data build --spec` holds. An
unknown key is an error that names the nearest known one. Where a null default is said to be
derived, it is worked out from the other values; the effective configuration in the answer shows the
value, and `config_sources` says of each whether it came from the request, is the default, or was
derived.
"""


def reference() -> str:
    """The whole reference as Markdown."""
    lines = [HEADER]
    seen: set[type[BaseModel]] = set()
    titles: set[str] = set()
    for root, name in _TITLES.items():
        above = frozenset(seen)
        for title, model, path in _parts(root, "", seen):
            unique = title if title not in titles else f"{title}, of {name.lower()}"
            titles.add(unique)
            lines += [f"## {unique}", "", _summary(model), ""]
            lines += [*rows(model, path, above=above), ""]
    return "\n".join(lines)


def rows(
    model: type[BaseModel],
    path: str = "",
    leave_out: Collection[str] = (),
    above: Collection[type[BaseModel]] = (),
) -> list[str]:
    """A model's fields as the lines of a table; those models that stand `above` are said to."""
    fields = {name: one for name, one in model.model_fields.items() if name not in leave_out}
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    return lines + [_row(f"{path}{name}", field, above) for name, field in fields.items()]


_TITLES: dict[type[BaseModel], str] = {
    JobSpec: "The job",
    SweepSpec: "The sweep",
    DatasetSpec: "The dataset",
}


def _parts(
    model: type[BaseModel], path: str, seen: set[type[BaseModel]]
) -> Iterator[tuple[str, type[BaseModel], str]]:
    title = f"`{path.rstrip('.')}`" if path else _TITLES[model]
    kind = model.model_fields.get("kind")
    if kind is not None:
        title += f", kind `{get_args(kind.annotation)[0]}`"
    yield title, model, path
    seen.add(model)
    for name, field in model.model_fields.items():
        listed = get_origin(field.annotation) is tuple
        for below in _models(field.annotation):
            if below not in seen:
                yield from _parts(below, f"{path}{name}{'[]' if listed else ''}.", seen)


def _summary(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _row(path: str, field: FieldInfo, above: Collection[type[BaseModel]]) -> str:
    meaning = " ".join((field.description or "").split())
    models = _models(field.annotation)
    where = "above" if models and set(models) <= set(above) else "below"
    if not meaning and models:
        meaning = f"see {where}" if len(models) == 1 else f"one of the kinds {where}"
    cells = [f"`{path}`", _type(field), _default(field, where), meaning]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(field: FieldInfo, where: str) -> str:
    if field.is_required():
        return "required"
    if field.default is PydanticUndefined:
        return "derived" if field.default_factory_takes_validated_data else "empty"
    if isinstance(field.default, BaseModel):
        kind = getattr(field.default, "kind", None)
        return f'`{{"kind": "{kind}"}}`' if kind else f"see {where}"
    if field.default is None:
        return "null"
    if isinstance(field.default, tuple) and field.default:
        if isinstance(field.default[0], BaseModel):
            terms = [f"{term.kind} x {term.weight:g}" for term in field.default]
            return " + ".join(terms)
        return f"`{list(field.default)}`"
    return f"`{field.default}`"


def _type(field: FieldInfo) -> str:
    text = _type_name(field.annotation)
    limits = []
    for item in field.metadata:
        for sign, name in ((">=", "ge"), (">", "gt"), ("<=", "le"), ("<", "lt")):
            bound = getattr(item, name, None)
            if bound is not None:
                limits.append(f"{sign} {bound}")
    return f"{text} {', '.join(limits)}".strip()


def _type_name(annotation: Any) -> str:
    origin = get_origin(annotation)
    args = get_args(annotation)
    if origin is Annotated:
        return _type_name(args[0])
    if origin is Literal:
        return " / ".join(f"`{arg}`" for arg in args)
    if origin in (Union, UnionType):
        names = dict.fromkeys(_type_name(arg) for arg in args if arg is not NoneType)
        return " or ".join([*names, "null"] if NoneType in args else names)
    if origin is tuple:
        return f"list of {_type_name(args[0])}"
    if origin is dict:
        return f"map of {_type_name(args[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "object"
    return str(getattr(annotation, "__name__", annotation))


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for arg in get_args(annotation) for model in _models(arg)]


if __name__ == "__main__":
    sys.stdout.write(reference())
