"""What a table's checks found: the quality report that is stored with a dataset. No Polars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Finding:
    """What one check found in a source."""

    check: str
    """The check's name, such as `spike`."""
    severity: Severity
    """`error` = the table is refused, `warning` = look at it, `info` = good to know."""
    count: int
    """How many rows (or stocks, days, columns: the check's docs say which)."""
    share: float
    """`count` over all there are."""
    examples: tuple[str, ...] = ()
    """The first few, in words."""

    def as_json(self) -> dict[str, Any]:
        """As it stands in a dataset's header."""
        return {
            "check": self.check,
            "severity": self.severity,
            "count": self.count,
            "share": self.share,
            "examples": list(self.examples),
        }

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Finding:
        """The inverse of `as_json`."""
        return cls(**{**given, "examples": tuple(given["examples"])})
