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

from gogooku3.config.job import JobSpec
from gogooku3.config.sweep import SweepSpec

HEADER = """# Configuration

Every key of the body of `POST /v1/jobs`, and after those of `POST /v1/sweeps`, generated from the
code that checks it (`python -m gogooku3.config.reference`). An unknown key is an error that names
the nearest known one. Where a null default is said to be derived, it is worked out from the other
values; the effective configuration in the answer shows the value, and `config_sources` says of each
whether it came from the request, is the default, or was derived.
"""


def reference() -> str:
    """The whole reference as Markdown."""
    lines = [HEADER]
    seen: set[type[BaseModel]] = set()
    parts = [*_parts(JobSpec, "", seen), *_parts(SweepSpec, "", seen)]
    for title, model, path in parts:
        lines += [f"## {title}", "", _summary(model), ""]
        lines += [*rows(model, path), ""]
    return "\n".join(lines)


def rows(model: type[BaseModel], path: str = "", leave_out: Collection[str] = ()) -> list[str]:
    """A model's fields as the lines of a table."""
    fields = {name: one for name, one in model.model_fields.items() if name not in leave_out}
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    return lines + [_row(f"{path}{name}", field) for name, field in fields.items()]


_TITLES: dict[type[BaseModel], str] = {JobSpec: "The job", SweepSpec: "The sweep"}


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


def _row(path: str, field: FieldInfo) -> str:
    meaning = " ".join((field.description or "").split())
    if not meaning and (below := _models(field.annotation)):
        meaning = "see below" if len(below) == 1 else "one of the kinds below"
    cells = [f"`{path}`", _type(field), _default(field), meaning]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default is PydanticUndefined:
        return "empty"
    if isinstance(field.default, BaseModel):
        kind = getattr(field.default, "kind", None)
        return f'`{{"kind": "{kind}"}}`' if kind else "see below"
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
