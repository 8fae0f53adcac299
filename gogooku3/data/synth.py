"""A synthetic market with a planted signal of known strength. Numpy and Polars.

Daily log returns are a market factor, sector and cluster factors, the stock's own shock and a
planted conditional expectation that is known in the simulator. It has five parts:

- reversal: the stock's own shock of the last day turns back (seen in 1-day returns);
- pressure: where the close lies in the day's range goes on the next days;
- attention: unusual volume is followed by higher returns;
- calm: volatile stocks earn less, for as long as they stay volatile;
- news: the news of a stock's cluster moves its leaders (the most traded stocks) at once and its
  followers partly today and partly tomorrow. Clusters cut across sectors, and a stock's own return
  mixes its cluster's news with its own shock, which turns back: only the returns of the stocks it
  is correlated with, its neighbours in the graph, tell the two apart.

Shapes: T market days, N stocks, C clusters, S sectors, K horizons, P parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

BURN_IN = 60
CLUSTER_SIZE = 10
LEADERS = 3
DAILY_VOLATILITY = 0.02
SECTOR_VOLATILITY = 0.35
NEWS_VOLATILITY = 0.75
OWN_VOLATILITY = 0.55
"""Of a sector's factor, a cluster's news and a stock's own shock, as shares of the daily one."""
FOLLOWERS_SHARE = 0.8
"""What followers make of their cluster's news on the day itself."""
PARTS: Mapping[str, tuple[float, float]] = {
    "reversal": (0.15, 0.0),
    "pressure": (0.35, 0.5),
    "attention": (0.15, 0.7),
    "calm": (0.05, 0.97),
    "news": (0.30, 0.0),
}
"""Per part: share of the variance of tomorrow's expectation, and the share of a part that is left
one day later."""


@dataclass(frozen=True)
class SyntheticMarket:
    """Daily bars and what was planted in them."""

    table: pl.DataFrame
    """date, code, open, high, low, close, volume, sector33, sector17; sorted by (date, code)."""
    planted: Mapping[str, Any]
    """`rank_ic`: per horizon, the mean over days of the rank IC between the conditional expectation
    of the forward return and that return; `parts`, and the parameters."""
    expected_TNK: Float
    """The conditional expectation itself, given everything up to t; NaN where there is no row."""


def synthesise(
    *,
    stocks: int = 200,
    days: int = 500,
    seed: int = 0,
    signal: float = 0.15,
    horizons: Sequence[int] = (1, 5, 10, 20),
    start: date = date(2018, 1, 4),
) -> SyntheticMarket:
    """Simulate a market; the same arguments give the same table.

    Args:
        stocks: N, at least 20.
        days: market days (weekdays), at least 80.
        seed: of every random number.
        signal: standard deviation of tomorrow's expectation over that of the return, across
            stocks; about the Pearson IC that can be reached at one day. 0 plants nothing.
        horizons: for which `planted` and `expected_TNK` are worked out.
        start: first market day.
    """
    if stocks < 20 or days < 80:
        raise ValueError(f"a market needs 20 stocks and 80 days, not {stocks} and {days}")
    if not 0.0 <= signal < 1.0:
        raise ValueError(f"signal must lie in [0, 1), not {signal}")
    rng = np.random.default_rng(seed)
    people = _People.draw(rng, stocks)
    path = _simulate(rng, people, days, signal)
    listed_TN = _listed(rng, people, days)
    expected_TNK = np.stack([path.expected(horizon) for horizon in horizons], axis=-1)
    expected_TNK[~listed_TN] = np.nan
    realised = [_realised(path.log_close_TN, listed_TN, horizon) for horizon in horizons]
    planted = {
        "rank_ic": {
            str(horizon): _mean_rank_ic(expected_TNK[..., place], realised[place])
            for place, horizon in enumerate(horizons)
        },
        "signal": signal,
        "parts": {name: share for name, (share, _) in PARTS.items()},
        "seed": seed,
        "stocks": stocks,
        "days": days,
    }
    table = _bars(rng, people, path, listed_TN, start)
    return SyntheticMarket(table=table, planted=planted, expected_TNK=expected_TNK)


@dataclass(frozen=True)
class _People:
    """The stocks and who belongs with whom."""

    sector_N: NDArray[np.int64]
    coarse_N: NDArray[np.int64]
    cluster_N: NDArray[np.int64]
    leader_N: Bool
    beta_N: Float
    log_size_N: Float
    """Logarithm of the mean traded value."""

    @classmethod
    def draw(cls, rng: np.random.Generator, stocks: int) -> _People:
        sectors = min(33, max(4, stocks // 12))
        cluster_N = rng.permutation(np.arange(stocks) // CLUSTER_SIZE)
        log_size_N = rng.normal(19.0, 1.2, stocks)
        leader_N = np.zeros(stocks, dtype=bool)
        for cluster in range(int(cluster_N.max()) + 1):
            inside_M = np.flatnonzero(cluster_N == cluster)
            leader_N[inside_M[np.argsort(-log_size_N[inside_M])[:LEADERS]]] = True
        sector_N = rng.integers(0, sectors, stocks)
        return cls(
            sector_N=sector_N,
            coarse_N=sector_N // 2,
            cluster_N=cluster_N,
            leader_N=leader_N,
            beta_N=rng.normal(1.0, 0.25, stocks),
            log_size_N=log_size_N,
        )


@dataclass(frozen=True)
class _Path:
    """What happened, after the burn-in."""

    log_close_TN: Float
    part_TNP: Float
    """Each part of the expectation of the return from t to t + 1, known at t."""
    volatility_TN: Float
    pressure_TN: Float
    attention_TN: Float

    def expected(self, horizon: int) -> Float:
        """The expectation at t of the log return from t to t + horizon: each part fades by its
        own constant factor a day, so its sum is a geometric series."""
        sums_P = [sum(left**step for step in range(horizon)) for _, left in PARTS.values()]
        return np.asarray(self.part_TNP @ np.asarray(sums_P))


def _simulate(rng: np.random.Generator, people: _People, days: int, signal: float) -> _Path:
    stocks, total = len(people.beta_N), days + BURN_IN
    clusters = int(people.cluster_N.max()) + 1
    sectors = int(people.sector_N.max()) + 1
    regime_T = _regime(rng, total)
    scale_T = np.where(regime_T, 1.6, 0.85)
    calm_TN = _fading(rng, total, stocks, PARTS["calm"][1])
    volatility_TN = DAILY_VOLATILITY * np.exp(0.35 * calm_TN) * scale_T[:, None]
    typical_TN = DAILY_VOLATILITY * np.broadcast_to(scale_T[:, None], volatility_TN.shape)
    market_T = rng.normal(0.0003, 0.008, total) * scale_T
    sector_TS = rng.normal(0.0, SECTOR_VOLATILITY, (total, sectors))
    news_TC = rng.normal(size=(total, clusters))
    at_once_N = np.where(people.leader_N, NEWS_VOLATILITY, NEWS_VOLATILITY * FOLLOWERS_SHARE)
    own_TN = rng.standard_t(6, (total, stocks)) * np.sqrt(4 / 6)
    pressure_TN = _fading(rng, total, stocks, PARTS["pressure"][1])
    attention_TN = _fading(rng, total, stocks, PARTS["attention"][1])
    moved_TN = (
        typical_TN * (sector_TS[:, people.sector_N] + news_TC[:, people.cluster_N] * at_once_N)
        + volatility_TN * OWN_VOLATILITY * own_TN
        + people.beta_N * market_T[:, None]
    )
    part_TNP = np.stack(
        [
            -own_TN,
            pressure_TN,
            attention_TN,
            -calm_TN,
            news_TC[:, people.cluster_N] * ~people.leader_N,
        ],
        axis=-1,
    )
    shares_P = np.asarray([share for share, _ in PARTS.values()])
    spread_T = moved_TN.std(axis=1)
    # The scale of the day's typical spread, known in advance from the regime alone, would make
    # persistent parts depend on the regime's future: the planted scale is constant instead.
    part_TNP = part_TNP * np.sqrt(shares_P) * signal * float(spread_T.mean())
    return_TN = moved_TN.copy()
    return_TN[1:] += part_TNP[:-1].sum(axis=-1)
    log_close_TN = np.log(rng.uniform(300, 5000, stocks)) + np.cumsum(return_TN, axis=0)
    kept = slice(BURN_IN, None)
    return _Path(
        log_close_TN=log_close_TN[kept],
        part_TNP=part_TNP[kept],
        volatility_TN=volatility_TN[kept],
        pressure_TN=pressure_TN[kept],
        attention_TN=attention_TN[kept],
    )


def _fading(rng: np.random.Generator, days: int, stocks: int, left: float) -> Float:
    """Independent states of unit variance of which the share `left` remains a day later."""
    state_TN = rng.normal(size=(days, stocks))
    for day in range(1, days):
        state_TN[day] = left * state_TN[day - 1] + np.sqrt(1 - left**2) * state_TN[day]
    return state_TN


def _regime(rng: np.random.Generator, days: int) -> Bool:
    """Quiet (false) and stormy (true) days: a Markov chain."""
    draw_T = rng.random(days)
    stormy_T = np.zeros(days, dtype=bool)
    for day in range(1, days):
        stay = 0.95 if stormy_T[day - 1] else 0.98
        stormy_T[day] = stormy_T[day - 1] ^ bool(draw_T[day] > stay)
    return stormy_T


def _listed(rng: np.random.Generator, people: _People, days: int) -> Bool:
    """Whether a stock has a row: late listings, delistings and days without trade."""
    stocks = len(people.beta_N)
    day_T1 = np.arange(days)[:, None]
    first_N = np.where(rng.random(stocks) < 0.08, rng.integers(1, days // 2, stocks), 0)
    last_N = np.where(rng.random(stocks) < 0.04, rng.integers(days // 2, days, stocks), days)
    # The smaller a stock, the more often nobody trades it.
    idle_N = np.clip(0.004 * np.exp(-(people.log_size_N - people.log_size_N.mean())), 0.0, 0.04)
    listed_TN = (day_T1 >= first_N) & (day_T1 < last_N)
    return np.asarray(listed_TN & (rng.random((days, stocks)) >= idle_N))


def _realised(log_close_TN: Float, listed_TN: Bool, horizon: int) -> Float:
    forward_TN = np.full_like(log_close_TN, np.nan)
    both_TN = listed_TN[:-horizon] & listed_TN[horizon:]
    change_TN = log_close_TN[horizon:] - log_close_TN[:-horizon]
    forward_TN[:-horizon] = np.where(both_TN, change_TN, np.nan)
    return forward_TN


def _mean_rank_ic(expected_TN: Float, realised_TN: Float) -> float | None:
    """Mean over days of the Spearman correlation; None when the expectation is constant."""
    daily = []
    for expected_N, realised_N in zip(expected_TN, realised_TN, strict=True):
        known_N = np.isfinite(expected_N) & np.isfinite(realised_N)
        if known_N.sum() < 8 or np.ptp(expected_N[known_N]) == 0.0:
            continue
        ranks = [np.argsort(np.argsort(x_N[known_N])) for x_N in (expected_N, realised_N)]
        daily.append(np.corrcoef(ranks[0], ranks[1])[0, 1])
    return round(float(np.mean(daily)), 6) if daily else None


def _bars(
    rng: np.random.Generator, people: _People, path: _Path, listed_TN: Bool, start: date
) -> pl.DataFrame:
    days, stocks = path.log_close_TN.shape
    close_TN = np.exp(path.log_close_TN)
    # The close's place in the day's range shows the pressure; a logistic keeps it inside.
    place_TN = 1.0 / (1.0 + np.exp(-1.6 * path.pressure_TN))
    span_TN = path.volatility_TN * 1.3 * np.exp(rng.normal(0.0, 0.25, close_TN.shape))
    low_TN = close_TN * np.exp(-place_TN * span_TN)
    high_TN = close_TN * np.exp((1.0 - place_TN) * span_TN)
    gap_TN = rng.normal(0.0, 0.3, close_TN.shape) * path.volatility_TN
    before_TN = np.vstack([close_TN[:1], close_TN[:-1]])
    open_TN = np.clip(before_TN * np.exp(gap_TN), low_TN, high_TN)
    log_value_TN = (
        people.log_size_N
        + 0.45 * path.attention_TN
        + 0.5 * np.log(path.volatility_TN / DAILY_VOLATILITY)
        + rng.normal(0.0, 0.12, close_TN.shape)
    )
    volume_TN = np.maximum(np.round(np.exp(log_value_TN) / close_TN), 1.0)
    day_R, stock_R = np.nonzero(listed_TN)
    calendar_T = np.busday_offset(np.datetime64(start, "D"), np.arange(days), roll="forward")
    codes = np.asarray([f"S{stock:04d}" for stock in range(stocks)])
    fine = np.asarray([f"industry {sector:02d}" for sector in range(100)])
    coarse = np.asarray([f"group {sector:02d}" for sector in range(100)])
    return pl.DataFrame(
        {
            "date": calendar_T[day_R],
            "code": codes[stock_R],
            "open": open_TN[day_R, stock_R],
            "high": high_TN[day_R, stock_R],
            "low": low_TN[day_R, stock_R],
            "close": close_TN[day_R, stock_R],
            "volume": volume_TN[day_R, stock_R],
            "sector33": fine[people.sector_N[stock_R]],
            "sector17": coarse[people.coarse_N[stock_R]],
        }
    )
