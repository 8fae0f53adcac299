"""What a stored sweep is made of: its specification and its search space."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from app.db import Sweep
from app.domain import DomainError
from gogooku3.config import SearchSpace, SweepSpec


class OutdatedSweepError(DomainError):
    """This version of the server no longer accepts the stored sweep; create it again."""

    code = "spec-outdated"


@dataclass(frozen=True)
class Definition:
    """A sweep's specification, with the search space over its base configuration."""

    spec: SweepSpec
    space: SearchSpace


def definition(sweep: Sweep) -> Definition:
    """The definition of a stored sweep. Raises OutdatedSweepError."""
    try:
        spec = SweepSpec.model_validate(sweep.config)
        return Definition(spec, SearchSpace.make(sweep.base, spec.config, spec.search_space))
    except ValueError as error:
        raise OutdatedSweepError(
            f"this version of the server no longer accepts the stored sweep: {_fault(error)}"
        ) from error


def _fault(error: ValueError) -> str:
    """In one line: pydantic's own text has several."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
