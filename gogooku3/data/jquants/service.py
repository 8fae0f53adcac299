"""J-Quants through `jquants-api-client`: paced, patient, with errors that say what to do.

The API key is the client's own business: it reads JQUANTS_API_KEY or its jquants-api.toml. It is
neither stored nor told by anything here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Any

import polars as pl

from gogooku3.errors import (
    CredentialsError,
    MissingExtraError,
    SourceDataError,
    SourceUnavailableError,
)

if TYPE_CHECKING:
    import pandas as pd
    import requests

BAR_COLUMNS = pl.Schema(
    {
        "Date": pl.Date,
        "Code": pl.String,
        "O": pl.Float64,
        "H": pl.Float64,
        "L": pl.Float64,
        "C": pl.Float64,
        "Vo": pl.Float64,
        "AdjFactor": pl.Float64,
    }
)
"""Prices and volume as traded, and what earlier prices are multiplied by from this day on."""
LISTED_COLUMNS = pl.Schema(
    {
        "Date": pl.Date,
        "Code": pl.String,
        "S33": pl.String,
        "S17": pl.String,
        "Mkt": pl.String,
    }
)
"""Codes of the sectors and the market segment a stock is listed under."""
TRADING_DAYS = ("1", "2")
"""Kinds of day in the calendar that have bars: whole and half trading days."""
GIVE_UP_S = 600.0
"""A request that was not answered for so long is given up."""
LONGEST_WAIT_S = 60.0
_DATE = "%Y-%m-%d"


class JQuants:
    """The few endpoints of J-Quants that bars are made of.

    A request that is refused for being one too many (429), that fails on the other side (5xx) or on
    the way is repeated with growing pauses, or after the time the answer names.
    """

    def __init__(self, requests_per_minute: int, give_up_s: float = GIVE_UP_S) -> None:
        """Raises MissingExtraError without the client package, CredentialsError without a key."""
        try:
            import jquantsapi
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "J-Quants needs its client package: pip install 'gogooku3[jquants]'"
            ) from error
        try:
            self._client = jquantsapi.ClientV2()
        except ValueError as error:
            raise CredentialsError from error
        # Repeating is done here, with pauses, which the client's own way has not.
        self._client._request_session(status_forcelist=[])
        self._pause_s = 60.0 / requests_per_minute
        self._give_up_s = give_up_s
        self._next_at = 0.0

    def trading_days(self, start: date, end: date) -> list[date]:
        """The market's days from `start` to `end`, both included."""
        frame = self._ask(
            self._client.get_mkt_calendar,
            from_yyyymmdd=start.strftime(_DATE),
            to_yyyymmdd=end.strftime(_DATE),
        )
        found = _typed(frame, pl.Schema({"Date": pl.Date, "HolDiv": pl.String}))
        open_days = found.filter(pl.col("HolDiv").is_in(TRADING_DAYS))["Date"].sort().to_list()
        return [day for day in open_days if start <= day <= end]

    def bars(self, day: date) -> pl.DataFrame:
        """Every listed security's bar of a day; no rows = there are none yet."""
        frame = self._ask(self._client.get_eq_bars_daily, date_yyyymmdd=day.strftime(_DATE))
        return _typed(frame, BAR_COLUMNS)

    def listed(self, day: date) -> pl.DataFrame:
        """What was listed on a day, with its sectors."""
        return _typed(
            self._ask(self._client.get_eq_master, date=day.strftime(_DATE)), LISTED_COLUMNS
        )

    def _ask(self, endpoint: Callable[..., pd.DataFrame], **parameters: str) -> pd.DataFrame:
        import requests
        import tenacity

        asking = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_passing),
            wait=_wait_s,
            stop=tenacity.stop_after_delay(self._give_up_s),
            reraise=True,
        )
        try:
            return asking(self._paced, endpoint, **parameters)
        except requests.HTTPError as error:
            raise _refusal(error) from error
        except (requests.RequestException, ValueError) as error:
            raise SourceUnavailableError(
                f"J-Quants cannot be reached ({type(error).__name__}: {error}); what was fetched "
                "is kept, run the same again later"
            ) from error

    def _paced(self, endpoint: Callable[..., pd.DataFrame], **parameters: str) -> pd.DataFrame:
        time.sleep(max(0.0, self._next_at - time.monotonic()))
        self._next_at = time.monotonic() + self._pause_s
        return endpoint(**parameters)


def _is_passing(error: BaseException) -> bool:
    """Whether the same request may succeed later."""
    import requests

    if isinstance(error, requests.HTTPError):
        return _status(error) == 429 or _status(error) >= 500
    return isinstance(error, requests.ConnectionError | requests.Timeout)


def _wait_s(state: Any) -> float:
    """As long as the answer says, else 1, 2, 4 ... seconds, each shortened by chance."""
    import tenacity

    error = state.outcome.exception()
    named = getattr(getattr(error, "response", None), "headers", {}).get("Retry-After", "")
    if named.isdigit():
        return min(float(named), LONGEST_WAIT_S)
    wait = tenacity.wait_random_exponential(multiplier=1.0, max=LONGEST_WAIT_S)
    return float(wait(state))


def _refusal(
    error: requests.HTTPError,
) -> CredentialsError | SourceUnavailableError | SourceDataError:
    status = _status(error)
    said = _message(error)
    if status in (401, 403):
        return CredentialsError(
            f"J-Quants refuses the API key ({status}: {said}): check JQUANTS_API_KEY or "
            "jquants-api.toml, and what your plan includes"
        )
    if _is_passing(error):
        return SourceUnavailableError(
            f"J-Quants answers {status} ({said}) and did not stop doing so; what was fetched is "
            "kept, run the same again later, with fewer requests a minute after a 429"
        )
    return SourceDataError(f"J-Quants refuses the request ({status}): {said}")


def _status(error: requests.HTTPError) -> int:
    return 0 if error.response is None else error.response.status_code


def _message(error: requests.HTTPError) -> str:
    if error.response is None:
        return str(error)
    try:
        return str(error.response.json()["message"])[:500]
    except (ValueError, KeyError, TypeError):
        return error.response.reason or "no reason given"


def _typed(frame: pd.DataFrame, columns: pl.Schema) -> pl.DataFrame:
    """The wanted columns of an answer. Raises SourceDataError when it is not what it should be."""
    if frame.empty:
        return pl.DataFrame(schema=columns)
    lacking = [name for name in columns if name not in frame.columns]
    if lacking:
        raise SourceDataError(
            f"J-Quants' answer lacks {', '.join(lacking)}: its API may have changed, see whether "
            "there is a newer jquants-api-client"
        )
    try:
        return pl.from_pandas(frame[list(columns)]).cast(columns)
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        raise SourceDataError(f"J-Quants' answer cannot be read: {error}") from error
