"""The checks of a source: what each is called, how severe it is and what it says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gogooku3.data.report import Finding, Severity

EXAMPLES = 3


@dataclass(frozen=True)
class Check:
    """One kind of finding."""

    severity: Severity
    unit: str
    """What is counted, in the plural; `share` is of all of those there are."""
    meaning: str
    """What is the matter, as the end of a sentence."""


CHECKS: dict[str, Check] = {
    "no_rows": Check("error", "rows", "the table has no rows with a closing price"),
    "unreadable_date": Check("error", "rows", "date is not a date like 2020-01-31"),
    "empty_code": Check("error", "rows", "code is empty"),
    "not_a_number": Check("error", "rows", "a value is not a number"),
    "duplicate": Check("error", "rows", "(date, code) appears more than once"),
    "unknown_close": Check("error", "rows", "close is unknown although there was volume"),
    "not_positive_close": Check("error", "rows", "close must be above 0"),
    "negative": Check("error", "rows", "a price or the volume must not be negative"),
    "infinite": Check("error", "rows", "a price or the volume is infinite"),
    "null_column": Check("warning", "columns", "a column has no value on any row"),
    "spike": Check(
        "warning", "rows", "close moved by more than 60 % in a day; returns across it are unknown"
    ),
    "stale": Check(
        "warning",
        "rows",
        "the quote repeats: the same close for days, without trade or with the same volume",
    ),
    "zero_price": Check("warning", "rows", "open, high or low is 0; taken as unknown"),
    "high_below_low": Check("warning", "rows", "high is below low; both are taken as unknown"),
    "calendar_hole": Check("warning", "weekdays", "more than 7 weekdays in a row have no rows"),
    "unknown_sector": Check("warning", "stocks", "a stock has no sector"),
    "unsorted": Check(
        "warning",
        "rows",
        "rows are in the order of neither (date, code) nor (code, date); they are put in order",
    ),
    "no_trade": Check(
        "info", "rows", "neither close nor volume: a day without trade, counted as absent"
    ),
    "missing_weekday": Check("info", "weekdays", "a weekday has no rows: a holiday, as a rule"),
    "sector_change": Check("info", "stocks", "a stock changes its sector; it keeps the first one"),
}
"""In the order of a report."""


class Findings:
    """Gathers findings, one for each check."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, int, list[str]]] = {}

    def add(self, check: str, count: int, of: int, examples: Iterable[str] = ()) -> None:
        """Count `count` more of `of`; adding to a check twice adds both numbers."""
        if not count:
            return
        before, among, shown = self._found.get(check, (0, 0, []))
        self._found[check] = (before + count, max(among, of), [*shown, *examples][:EXAMPLES])

    def report(self) -> tuple[Finding, ...]:
        """All of them, errors first."""
        return tuple(
            Finding(name, check.severity, count, min(1.0, count / of) if of else 1.0, tuple(shown))
            for name, check in CHECKS.items()
            if name in self._found
            for count, of, shown in (self._found[name],)
        )


def sentence(finding: Finding) -> str:
    """A finding in words."""
    check = CHECKS[finding.check]
    unit = check.unit if finding.count != 1 else check.unit.removesuffix("s")
    examples = f", such as: {'; '.join(finding.examples)}" if finding.examples else ""
    if finding.check == "no_rows":
        return check.meaning
    return f"{check.meaning} ({finding.check}) in {finding.count} {unit}{examples}"
