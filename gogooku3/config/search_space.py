"""A sweep's search space over the configuration: what is chosen when, and what comes of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gogooku3.config.distribution import DistributionConfig
from gogooku3.config.paths import (
    Condition,
    conditions_of,
    find_path,
    known_paths,
    value_at,
    with_values,
)
from gogooku3.config.train import TrainConfig

Params = dict[str, Any]
"""Values by path, as chosen for a trial."""


@dataclass(frozen=True)
class Parameter:
    """A path, what may be chosen there, and when."""

    path: str
    distribution: DistributionConfig
    conditions: tuple[Condition, ...]
    """Those that the base configuration does not settle; all must hold."""


@dataclass(frozen=True)
class SearchSpace:
    """The parameters, each after those that its conditions ask for."""

    base: dict[str, Any]
    """The configuration as the client gave it."""
    effective: dict[str, Any]
    """The same with every default filled in."""
    parameters: tuple[Parameter, ...]
    dead: tuple[tuple[str, Condition], ...]
    """Paths that no run would read, and the condition that never holds."""

    @classmethod
    def make(
        cls, base: Mapping[str, Any], config: TrainConfig, given: Mapping[str, DistributionConfig]
    ) -> SearchSpace:
        """The space of known paths over a valid base configuration.

        Raises ValueError naming the parameters whose `when` go round in a circle.
        """
        effective = config.model_dump(mode="json")
        known = known_paths()
        found: dict[str, Parameter] = {}
        dead: list[tuple[str, Condition]] = []
        for path, distribution in given.items():
            place = find_path(path, known)
            if place is None:
                raise ValueError(f"{path} is not a path of the configuration")
            open_conditions = []
            for condition in (*conditions_of(place), *_asked(distribution)):
                if condition.path in given:
                    points = given[condition.path].points
                    if points is not None and all(map(condition.holds, points)):
                        continue
                    if points is not None and not any(map(condition.holds, points)):
                        dead.append((path, condition))
                        break
                    open_conditions.append(condition)
                elif not condition.holds(value_at(effective, condition.path)):
                    dead.append((path, condition))
                    break
            else:
                found[path] = Parameter(path, distribution, tuple(open_conditions))
        return cls(dict(base), effective, _ordered(found), tuple(dead))

    @property
    def is_conditional(self) -> bool:
        """Whether some parameter is chosen in some trials only."""
        return any(parameter.conditions for parameter in self.parameters)

    def is_active(self, parameter: Parameter, chosen: Mapping[str, Any]) -> bool:
        """Whether a parameter is to be chosen, given what was chosen before it."""
        for condition in parameter.conditions:
            if condition.path not in chosen:  # itself not chosen: not read there
                return False
            if not condition.holds(chosen[condition.path]):
                return False
        return True

    def config(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """The base configuration with the chosen values, as a client would have sent it."""
        base = self.base
        if any(path.startswith("loss.terms.") for path in chosen):
            loss = {**base.get("loss", {})}
            loss.setdefault("terms", self.effective["loss"]["terms"])
            base = {**base, "loss": loss}
        return with_values(base, chosen)

    def grid(self) -> Iterator[Params]:
        """Every combination once, in the order of the parameters, the last changing fastest.

        Raises ValueError for a parameter without countable values.
        """
        for parameter in self.parameters:
            if parameter.distribution.points is None:
                raise ValueError(f"{parameter.path} has no step: its values cannot be counted")
        return self._grid(0, {})

    def _grid(self, place: int, chosen: Params) -> Iterator[Params]:
        if place == len(self.parameters):
            yield dict(chosen)
            return
        parameter = self.parameters[place]
        if not self.is_active(parameter, chosen):
            yield from self._grid(place + 1, chosen)
            return
        for value in parameter.distribution.points or ():
            yield from self._grid(place + 1, {**chosen, parameter.path: value})

    def size(self) -> int | None:
        """How many combinations there are, at most a million; None when they cannot be counted."""
        if any(parameter.distribution.points is None for parameter in self.parameters):
            return None
        if not self.is_conditional:
            return math.prod(len(p.distribution.points or ()) for p in self.parameters)
        return sum(1 for _ in itertools.islice(self.grid(), 1_000_000))


def _asked(distribution: DistributionConfig) -> list[Condition]:
    return [
        Condition(path, tuple(value) if isinstance(value, list) else (value,))
        for path, value in distribution.when.items()
    ]


def _ordered(found: Mapping[str, Parameter]) -> tuple[Parameter, ...]:
    """Each parameter after those it depends on, otherwise as given."""
    ordered: dict[str, Parameter] = {}
    waiting = dict(found)
    while waiting:
        ready = [
            parameter
            for parameter in waiting.values()
            if not any(condition.path in waiting for condition in parameter.conditions)
        ]
        if not ready:
            raise ValueError(_circle(list(waiting)))
        # One at a time: a parameter that was given early stays as early as it can.
        ordered[ready[0].path] = waiting.pop(ready[0].path)
    return tuple(ordered.values())


def _circle(paths: Sequence[str]) -> str:
    return f"the conditions of {', '.join(paths)} go round in a circle"
