"""What a sweep may choose for one path: a choice, an integer or a number in a range."""

from __future__ import annotations

import builtins
import json
import math
from collections.abc import Sequence
from typing import Any

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from gogooku3.config.base import ConfigModel

MOST_POINTS = 100_000
"""Values that a range with a step may have."""


class DistributionConfig(ConfigModel):
    """Exactly one of `choice`, `int` and `float`."""

    choice: tuple[Any, ...] | None = Field(default=None, min_length=1, max_length=1000)
    """Any of these values; lists and objects are allowed where the configuration takes them."""
    int: tuple[builtins.int, builtins.int] | None = None
    """A whole number from the first to the second, both included."""
    float: tuple[builtins.float, builtins.float] | None = None
    """A number from the first to the second, both included."""
    step: builtins.float | None = Field(default=None, gt=0)
    """Of a range: only the first number plus a multiple of this; null = 1 for `int`, any number
    for `float`."""
    log: bool = False
    """Of a range: choose evenly on a logarithmic scale; from above 0, and without a step."""
    when: dict[str, Any] = Field(default_factory=dict, max_length=16)
    """Only chosen where these paths have these values (a list = any of them). That a path belongs
    to a kind that is not chosen, or is not read for another reason, need not be said."""

    @model_validator(mode="after")
    def _is_one(self) -> DistributionConfig:
        given = [name for name in ("choice", "int", "float") if getattr(self, name) is not None]
        if len(given) != 1:
            raise PydanticCustomError(
                "distribution_kind",
                "give exactly one of choice, int and float; given {given}",
                {"given": " and ".join(given) or "none"},
            )
        if self.choice is not None:
            self._check_choice(self.choice)
        else:
            self._check_range(given[0])
        return self

    def _check_choice(self, choice: Sequence[Any]) -> None:
        texts = [json.dumps(value, sort_keys=True, default=str) for value in choice]
        for text in texts:
            if texts.count(text) > 1:
                raise PydanticCustomError(
                    "choice_repeat", "{value} is given twice", {"value": text, "field": "choice"}
                )
        for name in ("step", "log"):
            if getattr(self, name):
                raise PydanticCustomError(
                    "not_for_choice", "{name} is for int and float", {"name": name, "field": name}
                )

    def _check_range(self, name: str) -> None:
        low, high = getattr(self, name)
        step = self.step

        def wrong(code: str, text: str, field: str) -> PydanticCustomError:
            context = {"low": low, "high": high, "step": step, "field": field}
            return PydanticCustomError(code, text, context)

        if low > high:
            raise wrong("range_order", "from {low} to {high}: the first must not be larger", name)
        if self.log and low <= 0:
            raise wrong("range_log", "a logarithmic range must begin above 0, not at {low}", name)
        if self.log and step is not None:
            raise wrong("step_with_log", "a logarithmic range has no step", "step")
        if step is None:
            return
        if name == "int" and step != math.floor(step):
            raise wrong("step_whole", "a range of int needs a whole step, not {step}", "step")
        if (high - low) / step > MOST_POINTS:
            raise wrong("step_small", "step {step} is too small for {low} to {high}", "step")

    @property
    def points(self) -> list[Any] | None:
        """Every value in order; None for a number without a step."""
        if self.choice is not None:
            return list(self.choice)
        if self.int is not None:
            low, high = self.int
            if (high - low) / (self.step or 1) > MOST_POINTS:
                return None
            return list(range(low, high + 1, builtins.int(self.step or 1)))
        assert self.float is not None
        first, last = self.float
        if first == last:
            return [first]
        if self.step is None:
            return None
        # Counted, not added up: 0.1 three times is not 0.3.
        count = math.floor((last - first) / self.step + 1e-9) + 1
        return [round(first + place * self.step, 12) for place in range(count)]

    @property
    def corners(self) -> list[Any]:
        """Values at which a configuration is tried before any trial: all of a few, else both ends
        and the middle."""
        points = self.points
        if points is not None:
            if len(points) <= 33 or self.choice is not None:
                return points
            return [points[0], points[len(points) // 2], points[-1]]
        low, high = self.float or self.int or (0.0, 0.0)
        middle = math.sqrt(low * high) if self.log else (low + high) / 2
        return [low, builtins.int(middle) if self.int else middle, high]

    def contains(self, value: Any) -> bool:
        """Whether a value may be chosen."""
        if self.choice is not None:
            text = json.dumps(value, sort_keys=True, default=str)
            return text in [json.dumps(one, sort_keys=True, default=str) for one in self.choice]
        if isinstance(value, bool) or not isinstance(value, builtins.int | builtins.float):
            return False
        low, high = self.int or self.float or (0, 0)
        if self.int is not None and value != math.floor(value):
            return False
        if not low <= value <= high:
            return False
        if self.step is None:
            return True
        places = (value - low) / self.step
        return abs(places - round(places)) < 1e-6

    def __str__(self) -> str:
        if self.choice is not None:
            return f"one of {', '.join(json.dumps(value, default=str) for value in self.choice)}"
        low, high = self.int or self.float or (0, 0)
        step = f" in steps of {self.step:g}" if self.step else ""
        return f"{low} to {high}{step}{', logarithmic' if self.log else ''}"
