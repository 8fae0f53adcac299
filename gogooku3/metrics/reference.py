"""The reference of metrics: formulas, and what the code that computes them says of itself.

`python -m gogooku3.metrics.reference > docs/metrics.md` writes it; a test keeps it true.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from gogooku3.metrics.correlation import pearson, rank_correlation
from gogooku3.metrics.daily import daily_series
from gogooku3.metrics.inference import block_bootstrap, newey_west_t
from gogooku3.metrics.portfolio import Portfolio, decile_portfolio, legs
from gogooku3.metrics.stability import population_stability
from gogooku3.metrics.summary import over_horizons, sharpe, summarise

HEADER = """# Metrics

Generated from the code that computes them (`python -m gogooku3.metrics.reference`). A name is
`split/name`, with `@h` where it is of one horizon: `valid/rank_ic@5`. Undefined is null, never 0.

In the formulas s is the score and r the raw forward return over h days, both of one stock on one
day; d runs over the D days of the split that have the value; the sum or mean without an index is
over the day's stocks whose return is known. A signal at the close of day d is taken to trade at
that close.
"""


@dataclass(frozen=True)
class Metric:
    """A named figure."""

    name: str
    formula: str
    meaning: str


@dataclass(frozen=True)
class Group:
    """Metrics that belong together, and the functions that compute them."""

    title: str
    metrics: tuple[Metric, ...]
    made_by: tuple[Callable[..., Any], ...] = ()


DAILY = Group(
    "Of a day",
    (
        Metric("ic", "corr(s, r)", "Pearson correlation of score and forward return"),
        Metric(
            "rank_ic", "corr(rank s, rank r)", "Spearman correlation; ties share their mean rank"
        ),
        Metric(
            "long_short",
            "mean r over the long leg - mean r over the short leg",
            "return over h days of the tenth with the highest scores against the tenth with the "
            "lowest, equally weighted",
        ),
        Metric(
            "long_short_net",
            "long_short - c · sum |w_d - w_(d-h)|",
            "after costs: c is `evaluation.cost_bps` / 10,000, w the weights of both legs",
        ),
        Metric(
            "turnover",
            "sum |w_d - w_(d-h)| / (sum |w_d| + sum |w_(d-h)|)",
            "share of the book replaced since the one of h days before",
        ),
        Metric("hit_rate", "mean [r > 0] over the long leg", "share of the long leg that rose"),
        Metric("base_rate", "mean [r > 0]", "share of all stocks that rose"),
        Metric("stocks", "count of known r", "stocks behind the day's figures"),
    ),
    (daily_series, pearson, rank_correlation, decile_portfolio, legs, Portfolio),
)
HORIZON = Group(
    "Of a horizon, over days (`@h`)",
    (
        Metric("ic", "mean_d ic_d", "mean IC"),
        Metric("rank_ic", "mean_d rank_ic_d", "mean rank IC"),
        Metric("icir", "mean_d ic_d / std_d ic_d", "IC in units of its own variation, per day"),
        Metric("rank_icir", "mean_d rank_ic_d / std_d rank_ic_d", "the same of the rank IC"),
        Metric("ic_t", "mean_d ic_d / se", "t statistic; se after Newey and West (1987)"),
        Metric("rank_ic_t", "mean_d rank_ic_d / se", "the same of the rank IC"),
        Metric("ic_low", "2.5 % quantile of resampled means", "lower end of the 95 % interval"),
        Metric("ic_high", "97.5 % quantile of resampled means", "upper end"),
        Metric("rank_ic_low", "2.5 % quantile of resampled means", "the same of the rank IC"),
        Metric("rank_ic_high", "97.5 % quantile of resampled means", "upper end"),
        Metric("n_days", "D", "days with a rank IC"),
        Metric("long_short", "mean_d long_short_d", "mean h-day spread of the deciles"),
        Metric(
            "sharpe",
            "mean_d x_d / sqrt(mean_j var_j x) · sqrt(252 / h)",
            "annualised, x being long_short; j are the h series of days that do not overlap",
        ),
        Metric("sharpe_net", "the same of long_short_net", "after costs"),
        Metric("turnover", "mean_d turnover_d", "mean share of the book replaced"),
        Metric("hit_rate", "mean_d hit_rate_d", "mean share of the long leg that rose"),
        Metric("base_rate", "mean_d base_rate_d", "mean share of all stocks that rose"),
        Metric("hit_over_base", "mean_d (hit_rate_d - base_rate_d)", "what the choice adds"),
    ),
    (summarise, newey_west_t, block_bootstrap, sharpe),
)
SCORES = Group(
    "Of the scores",
    (
        Metric(
            "psi",
            "sum_b (q_b - p_b) log(q_b / p_b)",
            "validation scores against those of training days; b are the latter's deciles",
        ),
    ),
    (population_stability,),
)
WEIGHTED = Group(
    "Over horizons (no `@`)",
    (Metric("name", "sum_h w_h name@h / sum_h w_h", "w are `loss.horizon_weights`"),),
    (over_horizons,),
)
TRAINING = Group(
    "Of an epoch's training",
    (
        Metric("train/loss", "mean over steps", "the weighted sum of the loss terms"),
        Metric("train/loss_KIND", "mean over steps", "each term of the loss, before its weight"),
        Metric(
            "valid/loss",
            "the same on validation days",
            "in evaluation mode; `sharpe` and `turnover` among the days that are scored at once, "
            "whose number follows from `batch`: compare runs by it only with equal batches",
        ),
        Metric("train/grad_norm", "mean over steps of the norm", "before clipping"),
        Metric("train/lr", "mean over steps", "learning rate"),
        Metric(
            "train/ic, train/rank_ic", "as above", "of training days, scored as validation days are"
        ),
    ),
)
MACHINE = Group(
    "Of the machine",
    (
        Metric("sys/samples_per_s", "stock days / seconds of training", "speed"),
        Metric("sys/days_per_s", "days / seconds of training", "speed"),
        Metric(
            "sys/data_wait_share",
            "seconds of making batches / seconds of training",
            "below 0.1 the data is no limit",
        ),
        Metric("sys/epoch_s", "seconds", "an epoch with its evaluation"),
        Metric("sys/evaluation_s", "seconds", "of that, evaluation and checkpoint"),
        Metric("sys/rss_bytes", "bytes", "memory of the trainer at the epoch's end"),
        Metric("sys/peak_rss_bytes", "bytes", "the most it has held"),
        Metric(
            "sys/cpu_util",
            "processor seconds / (seconds · threads)",
            "share of the trainer's threads that was busy; 1 = all, all the time",
        ),
        Metric("sys/gpu_util", "share of the time", "mean of the GPU's own figure; only on a GPU"),
        Metric(
            "sys/gpu_memory", "bytes", "the most in use on the GPU, by all processes; only on a GPU"
        ),
        Metric("sys/gpu_memory_bytes", "bytes", "the most that torch has held; only on a GPU"),
    ),
)
GROUPS = (DAILY, HORIZON, SCORES, WEIGHTED, TRAINING, MACHINE)


def reference() -> str:
    """The whole page as Markdown."""
    return "\n".join([HEADER, *(line for group in GROUPS for line in _lines(group))])


def _lines(group: Group) -> Iterator[str]:
    yield f"## {group.title}\n"
    yield "| name | formula | meaning |\n|---|---|---|"
    for one in group.metrics:
        formula = one.formula.replace("|", "\\|")
        yield f"| `{one.name}` | {formula} | {one.meaning} |"
    yield ""
    for function in group.made_by:
        words = inspect.getdoc(function) or ""
        text = words.partition("\n\nArgs:")[0].partition("\n\nRaises:")[0]
        yield f"**`{function.__module__}.{function.__qualname__}`**: {' '.join(text.split())}\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
