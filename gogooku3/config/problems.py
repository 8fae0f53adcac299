"""Turn pydantic's errors into problems a person can act on: which field, what was given, what is
allowed, and the nearest known name of an unknown key."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Problem:
    """One thing wrong with an input. `pointer` is a JSON pointer (RFC 6901) into it."""

    pointer: str
    code: str
    message: str


def check(model: type[Model], given: Any) -> tuple[Model | None, list[Problem]]:
    """Validate `given`: the model and no problems, or no model and *every* problem found.

    Rules that concern several fields run only once each field is valid by itself. So that they are
    reported too, the fields in question are left out and the rest is validated again, until
    nothing new is found.
    """
    try:
        return model.model_validate(given), []
    except ValidationError:
        return None, _all_problems(model, copy.deepcopy(given))


def _all_problems(model: type[BaseModel], rest: Any) -> list[Problem]:
    """Takes `rest` apart."""
    found: dict[str, Problem] = {}
    while True:
        try:
            model.model_validate(rest)
        except ValidationError as error:
            fresh = [p for p in problems_of(error, model, rest) if p.pointer not in found]
        else:
            return list(found.values())
        # A problem that only arose because something inside it was left out is not one.
        faulty_inside = {
            above for at in (*found, *(p.pointer for p in fresh)) for above in _above(at)
        }
        found.update({p.pointer: p for p in fresh if p.pointer not in faulty_inside})
        removed = [_remove(rest, _to_leave_out(problem)) for problem in fresh]
        if not any(removed):
            return list(found.values())


def problems_of(error: ValidationError, model: type[BaseModel], given: Any) -> list[Problem]:
    """The problems of one failed validation of `given` against `model`."""
    problems = []
    for item in error.errors(include_url=False):
        keys, owner = _locate(model, given, item["loc"])
        code = item["type"]
        if code == "default_factory_not_called":  # for another field's fault, which is told
            continue
        context = item.get("ctx") or {}
        if code == "extra_forbidden":
            problems.append(_unknown_key(keys, owner))
            continue
        if "field" in context:
            keys = keys + tuple(str(context["field"]).split("/"))
        if code == "union_tag_invalid":
            keys = (*keys, "kind")
        message = _message(item, context)
        problems.append(Problem(pointer(keys), code.replace("_", "-"), message))
    return problems


def pointer(keys: tuple[Any, ...]) -> str:
    """The JSON pointer of a path of keys and positions."""
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in keys)


def _above(at: str) -> Iterator[str]:
    """The pointers of everything that the value at a pointer lies in."""
    return (at[:place] for place, character in enumerate(at) if character == "/")


def _to_leave_out(problem: Problem) -> str:
    """The pointer of what can't be judged further: all of an object whose kind is unknown."""
    if problem.code == "union-tag-invalid":
        return problem.pointer.removesuffix("/kind")
    return problem.pointer


def _remove(given: Any, at: str) -> bool:
    """Take the value at a JSON pointer out of `given`; false when there is none to take out."""
    *path, last = [part.replace("~1", "/").replace("~0", "~") for part in at.split("/")[1:]] or [""]
    for part in path:
        if isinstance(given, list) and part.isdigit() and int(part) < len(given):
            given = given[int(part)]
        elif isinstance(given, dict) and part in given:
            given = given[part]
        else:
            return False
    if isinstance(given, dict) and last in given:
        del given[last]
        return True
    return False


def _unknown_key(keys: tuple[Any, ...], owner: type[BaseModel] | None) -> Problem:
    name = str(keys[-1])
    known = sorted(owner.model_fields) if owner else []
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(known)}"
    return Problem(pointer(keys), "unknown-key", f"unknown key {name!r}; {hint}")


def _message(item: Any, context: dict[str, Any]) -> str:
    text = str(item["msg"])
    text = text[0].lower() + text[1:] if text else "not valid"
    if item["type"] == "missing":
        return "this field is required"
    if item["type"] == "union_tag_invalid":
        return f"unknown kind {context.get('tag')!r}; known are: {context.get('expected_tags')}"
    given = item.get("input")
    if "field" not in context and isinstance(given, str | int | float | bool):
        return f"{text}; given {given!r}"
    return text


def _locate(
    model: type[BaseModel], given: Any, loc: tuple[int | str, ...]
) -> tuple[tuple[Any, ...], type[BaseModel] | None]:
    """The keys of `loc` that exist in the input (without pydantic's union tags), and the model
    class that owns the last of them."""
    keys: list[Any] = []
    owner: type[BaseModel] | None = model
    annotation: Any = model
    for part in loc:
        if part == "[key]":  # pydantic's word for a dict's key, which stands before it
            continue
        owner_here = _model_for(annotation, part if isinstance(part, str) else None)
        tagged = _tagged(annotation, part)
        if tagged is not None and not (owner_here and part in owner_here.model_fields):
            annotation = tagged
            continue
        keys.append(part)
        if isinstance(part, int):
            annotation = _item_type(annotation)
            continue
        owner = owner_here or owner
        field = owner_here.model_fields.get(part) if owner_here else None
        annotation = field.annotation if field else _item_type(annotation)
        if field and field.metadata:
            annotation = Annotated[annotation, *field.metadata]
    return tuple(keys), owner


def _members(annotation: Any) -> list[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin is Union or origin is UnionType:
        return [member for arg in get_args(annotation) for member in _members(arg)]
    return [annotation]


def _models(annotation: Any) -> list[type[BaseModel]]:
    return [m for m in _members(annotation) if isinstance(m, type) and issubclass(m, BaseModel)]


def _model_for(annotation: Any, name: str | None) -> type[BaseModel] | None:
    models = _models(annotation)
    if len(models) == 1:
        return models[0]
    for model in models:
        if name in model.model_fields:
            return model
    return None


def _kind_of(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get("kind")
    if field is None or get_origin(field.annotation) is not Literal:
        return None
    return str(get_args(field.annotation)[0])


def _tagged(annotation: Any, part: int | str) -> type[BaseModel] | None:
    models = _models(annotation)
    if len(models) < 2:
        return None
    return next((model for model in models if _kind_of(model) == part), None)


def _item_type(annotation: Any) -> Any:
    for member in _members(annotation):
        args = get_args(member)
        if get_origin(member) is tuple and args:
            return args[0]
        if get_origin(member) in (list, dict) and args:
            return args[-1]
    return Any
