"""Reading a JSON body strictly: whatever PostgreSQL, pydantic or a reader of the record would
stumble over is a problem with a place, never a server error."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends
from starlette.exceptions import HTTPException
from starlette.requests import Request

from app.domain import InvalidSpecError
from gogooku3.config import Problem, pointer

Spec = TypeVar("Spec")

DEEPEST = 32
"""Levels of nesting; a specification has six."""
MOST_VALUES = 10_000
"""Values in a body; a specification with every field and feature named has under a thousand."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_Repeated = dict[int, tuple[dict[str, Any], list[str]]]
"""By the identity of an object: the object and its repeated keys."""


class BodyNotJsonError(Exception):
    """The body is not JSON; `args[0]` says where it stops being so."""


@dataclass(frozen=True)
class JsonBody:
    """A parsed body, and what is wrong with it before anyone looks at its meaning."""

    value: Any
    problems: list[Problem]

    def digest(self) -> str:
        """sha256 of the value: the same for bodies that differ in spacing or order of keys."""
        text = json.dumps(self.value, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("ascii")).hexdigest()


async def read_body(request: Request) -> bytes:
    """The request's body, which must be declared as JSON or not declared at all."""
    declared = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if declared and declared != "application/json" and not declared.endswith("+json"):
        raise HTTPException(
            415, f"Send the body as `Content-Type: application/json`, not {declared!r}."
        )
    return await request.body()


RawBody = Annotated[bytes, Depends(read_body)]


def parse(raw: bytes) -> JsonBody:
    """The JSON value of a body and its problems. Raises BodyNotJsonError.

    Problems found here: too deep, too many values, repeated keys, numbers that are not finite,
    and characters that cannot be stored (NUL, halves of surrogate pairs).
    """
    repeated: _Repeated = {}

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            counts = Counter(name for name, _ in pairs)
            # The object is kept beside its names, so that its identity stays its own.
            repeated[id(found)] = (found, sorted(n for n, count in counts.items() if count > 1))
        return found

    try:
        value = json.loads(raw, object_pairs_hook=collect)
    except RecursionError:
        return JsonBody(None, [_too_deep()])
    except UnicodeDecodeError as error:
        raise BodyNotJsonError(f"The body is not UTF-8 at byte {error.start}.") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise BodyNotJsonError(f"The body is not JSON: {error.msg} at {where}.") from error
    except ValueError:
        # Python refuses to read integers of more than 4300 digits.
        return JsonBody(None, [Problem("", "number-too-long", "a number has too many digits")])
    problems = _walk(value, repeated)
    if any(problem.code in {"too-deep", "too-many-values"} for problem in problems):
        return JsonBody(None, problems)
    return JsonBody(value, problems)


def checked(body: JsonBody, check: Callable[[Any], Spec]) -> Spec:
    """What `check` makes of the body. Raises InvalidSpecError with every problem there is."""
    if body.value is None and body.problems:
        raise InvalidSpecError(body.problems)
    try:
        spec = check(body.value)
    except InvalidSpecError as error:
        found = {problem.pointer for problem in body.problems}
        others = [problem for problem in error.problems if problem.pointer not in found]
        raise InvalidSpecError([*body.problems, *others]) from error
    if body.problems:
        raise InvalidSpecError(body.problems)
    return spec


def _walk(value: Any, repeated: _Repeated) -> list[Problem]:
    problems: list[Problem] = []
    waiting: list[tuple[tuple[Any, ...], Any]] = [((), value)]
    seen = 0
    while waiting:
        path, item = waiting.pop()
        seen += 1
        if isinstance(item, dict | list) and len(path) >= DEEPEST:
            return [_too_deep()]
        if seen + len(waiting) > MOST_VALUES:
            message = f"the body holds more than {MOST_VALUES} values"
            return [Problem("", "too-many-values", message)]
        if isinstance(item, str):
            problems += _unstorable(path, item)
        elif isinstance(item, float) and not math.isfinite(item):
            problems.append(Problem(pointer(path), "finite-number", "must be a finite number"))
        elif isinstance(item, dict):
            for name in repeated.get(id(item), (item, []))[1]:
                at = pointer((*path, name))
                problems.append(Problem(at, "repeated-key", f"key {name!r} is given twice"))
            for name, child in item.items():
                problems += _unstorable((*path, name), name)
                waiting.append(((*path, name), child))
        elif isinstance(item, list):
            waiting.extend(((*path, index), child) for index, child in enumerate(item))
    return problems


def _unstorable(path: tuple[Any, ...], text: str) -> list[Problem]:
    if "\x00" in text:
        message = "must not contain the NUL character (\\u0000)"
        return [Problem(pointer(path), "nul-character", message)]
    if _SURROGATE.search(text):
        message = "contains half of a surrogate pair, which is not a character"
        return [Problem(pointer(path), "lone-surrogate", message)]
    return []


def _too_deep() -> Problem:
    return Problem("", "too-deep", f"the body is nested more than {DEEPEST} levels deep")
