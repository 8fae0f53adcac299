"""Checks of a market that is laid out: spikes, stale quotes, holes.

Shapes: T market days, N stocks.
"""

from __future__ import annotations

import numpy as np

from gogooku3.data.rolling import last_known, shift
from gogooku3.data.source.bars import Bars
from gogooku3.data.source.checks import EXAMPLES, Findings

SPIKE = 0.6
"""A 1-day move beyond this is taken for an error in the data."""
PREVIOUS_DAYS = 5
"""How many market days the previous close may be older than yesterday."""
STALE_RUN = 5
"""A quote that repeats for so many days in a row is stale."""
HOLE_WEEKDAYS = 7
"""No usual holidays close a market for more weekdays in a row."""


def check_market(bars: Bars, findings: Findings) -> None:
    """Add what is odd in a market."""
    close_TN, present_TN = bars.close_TN, bars.present_TN
    rows = int(present_TN.sum())
    previous_TN = last_known(shift(close_TN, 1), PREVIOUS_DAYS)
    with np.errstate(invalid="ignore", over="ignore"):
        spike_TN = np.abs(close_TN / previous_TN - 1.0) > SPIKE
    _add_cells(bars, findings, "spike", spike_TN, rows)
    volume_TN, earlier_TN = bars.volume_TN, shift(bars.volume_TN, 1)
    same_TN = (close_TN == shift(close_TN, 1)) & ((volume_TN == 0) | (volume_TN == earlier_TN))
    run_N = np.zeros(len(bars.codes), dtype=np.int64)
    stale_TN = np.zeros_like(same_TN)
    for day, same_N in enumerate(same_TN):
        run_N = np.where(same_N, run_N + 1, 0)
        stale_TN[day] = run_N >= STALE_RUN
    _add_cells(bars, findings, "stale", stale_TN, rows)
    _check_calendar(bars, findings)


def _add_cells(
    bars: Bars,
    findings: Findings,
    check: str,
    bad_TN: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    rows: int,
) -> None:
    places = np.argwhere(bad_TN)
    shown = [f"{bars.calendar[day]} {bars.codes[stock]}" for day, stock in places[:EXAMPLES]]
    findings.add(check, len(places), rows, shown)


def _check_calendar(bars: Bars, findings: Findings) -> None:
    day_T = np.array(bars.calendar, dtype="datetime64[D]")
    if len(day_T) < 2:
        return
    closed_G = np.busday_count(day_T[:-1] + 1, day_T[1:])
    weekdays = int(np.busday_count(day_T[0], day_T[-1] + 1))
    for check, of_G in (
        ("calendar_hole", closed_G > HOLE_WEEKDAYS),
        ("missing_weekday", (closed_G > 0) & (closed_G <= HOLE_WEEKDAYS)),
    ):
        places = np.flatnonzero(of_G)
        shown = [f"between {day_T[gap]} and {day_T[gap + 1]}" for gap in places[:EXAMPLES]]
        findings.add(check, int(closed_G[places].sum()), weekdays, shown)
