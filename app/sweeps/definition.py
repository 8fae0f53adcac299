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
    except (ValidationError, ValueError) as error:
        raise OutdatedSweepError(f"the stored sweep is no longer valid: {error}") from error
