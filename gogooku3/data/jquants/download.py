"""Fetches days from J-Quants into a folder, each once, and makes one table of bars of them.

`days/DATE.parquet` holds a day as it was traded, `listed/DATE.parquet` who was listed on a month's
first trading day; what is there is not fetched again. A file is complete or absent.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import polars as pl

from gogooku3.data.jquants.bars import make_bars
from gogooku3.data.jquants.service import GIVE_UP_S, JQuants
from gogooku3.errors import SourceDataError

BARS = "bars.parquet"
"""The table of bars in the folder: its columns have the usual names, so it needs no spec."""
Progress = Callable[[str, float], None]


def fetch(
    folder: Path,
    start: date,
    end: date,
    *,
    out: Path | None = None,
    requests_per_minute: int = 60,
    stocks_only: bool = True,
    progress: Progress = lambda stage, share: None,
    give_up_s: float = GIVE_UP_S,
) -> Path:
    """Fetch what is missing of the days from `start` to `end`, and write their bars.

    Prices are adjusted for splits up to `end` by the factors of all days: J-Quants' own adjusted
    prices are as of the day they are asked for, and would not fit together when days are fetched
    at different times.

    Args:
        folder: where days are kept; made if missing. A later call goes on with what is there.
        out: the file of bars to write; None = `bars.parquet` in the folder.
        requests_per_minute: what the plan allows.
        stocks_only: leave out what has no industry, such as funds and trusts.
        progress: told the stage and the share that is done.
        give_up_s: how long one request is repeated.

    Returns the file of bars.

    Raises MissingExtraError, CredentialsError, SourceUnavailableError (what was fetched is kept),
    and SourceDataError when there are no bars.
    """
    service = JQuants(requests_per_minute, give_up_s)
    days = service.trading_days(start, end)
    firsts = [day for place, day in enumerate(days) if _begins_month(days, place)]
    wanted = [(folder / "listed", day, service.listed) for day in firsts]
    wanted += [(folder / "days", day, service.bars) for day in days]
    missing = [each for each in wanted if not _path(each[0], each[1]).exists()]
    for done, (place, day, ask) in enumerate(missing):
        progress(f"J-Quants {day}", 0.95 * done / len(missing))
        frame = ask(day)
        if len(frame):
            _write(frame, _path(place, day))
    there = [path for day in days if (path := _path(folder / "days", day)).exists()]
    if not there:
        raise SourceDataError(
            f"J-Quants has no bars from {start} to {end}: of this span, the market was open on "
            f"{len(days)} days"
        )
    progress("adjusting prices", 0.95)
    listings = [path for day in firsts if (path := _path(folder / "listed", day)).exists()]
    out = out or folder / BARS
    _write(make_bars(there, listings, stocks_only=stocks_only), out)
    progress("fetched", 1.0)
    return out


def _begins_month(days: Sequence[date], place: int) -> bool:
    return place == 0 or days[place].month != days[place - 1].month


def _path(folder: Path, day: date) -> Path:
    return folder / f"{day.isoformat()}.parquet"


def _write(frame: pl.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        prefix=f".{path.name}.", dir=path.parent, delete=False
    ) as file:
        temporary = Path(file.name)
    try:
        frame.write_parquet(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
