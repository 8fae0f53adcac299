"""The parts of ATFT-GAT-FAN, each left out or exchanged, on a real market: paired over its days.

    gogooku3 data build $GOGOOKU3_REAL_DATA/jp_dev.parquet --name jp --top 2000
    python benchmarks/ablation.py train jp.arrow runs --variant default --seeds 1 2 3
    python benchmarks/ablation.py train jp.arrow runs --variant without_gat --seeds 1 2 3
    python benchmarks/ablation.py report jp.arrow runs
    python benchmarks/ablation.py together jp.arrow runs --variant default --and-also mlp

`train` makes the runs that are not there yet, one after the other, and goes on with one that was
stopped. `report` prints Markdown: each variant's rank IC per horizon, on validation and on test
days, then what `default` has more than it. A day's rank IC is first averaged over the seeds, so
that days are what the Newey-West t and the block-bootstrap interval are counted in. The epoch is
the one with the best validation rank IC; the test days choose nothing. `together` scores with the
mean of all seeds' scores instead, each day's of each run standardised first.
"""

from __future__ import annotations

import argparse
import copy
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gogooku3 import load_model
from gogooku3.data.panel import Panel
from gogooku3.metrics.correlation import rank_correlation
from gogooku3.metrics.inference import block_bootstrap, newey_west_t
from gogooku3.training.scoring import ScoringModel

HORIZONS = (1, 5, 10, 20)
EXAMPLE = Path(__file__).parents[1] / "examples" / "job_market.json"
DEFAULT: dict[str, Any] = json.loads(EXAMPLE.read_text())["config"] | {
    "evaluation": {"train_days": 0}
}
"""The encoder sees two days, each less the main part of its own trailing six."""
VALID_END = date.fromisoformat(DEFAULT["data"]["split"]["valid_end"])
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    # The same two days for the encoder.
    "without_fan": {"data": {"lookback": 2}, "model": {"fan": {"enabled": False}}},
    # A window's own decomposition of the seven days, all of which the encoder then sees.
    "window_fan": {"model": {"fan": {"kind": "window"}}},
    "without_gat": {"model": {"gat": {"layers": 0, "concat": []}}},
    "without_sector_edges": {"model": {"graph": {"sector_neighbours": 0, "sector_weight": 0.0}}},
    "without_soft_spearman": {
        "loss": {"terms": [{"kind": "huber", "weight": 0.1}, {"kind": "ic"}]}
    },
    "soft_spearman_only": {"loss": {"terms": [{"kind": "soft_spearman"}]}},
    "pairwise_only": {"loss": {"terms": [{"kind": "pairwise"}]}},
    "listnet_only": {"loss": {"terms": [{"kind": "listnet"}]}},
    "huber_only": {"loss": {"terms": [{"kind": "huber"}]}},
    "adabelief_restarts": {
        "optimizer": {"kind": "adabelief", "lr": 3e-3, "ema_decay": 0.99},
        "scheduler": {"kind": "cosine_restarts", "t_0": 1},
    },
    "mlp": {"data": {"lookback": 2}, "model": {"kind": "mlp", "dropout": 0.2}},
    "lightgbm": {"model": {"kind": "lightgbm"}},
    "linear": {"model": {"kind": "linear"}},
}
Series = NDArray[np.float64]


def merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """The base with the change put into it, objects into objects; another `kind` starts anew."""
    made = copy.deepcopy(dict(base))
    for key, value in change.items():
        old = made.get(key)
        is_another = isinstance(value, dict) and value.get("kind") not in (
            None,
            (old or {}).get("kind", value.get("kind")),
        )
        if isinstance(value, dict) and isinstance(old, dict) and not is_another:
            made[key] = merged(old, value)
        else:
            made[key] = copy.deepcopy(value)
    return made


def specification(variant: str, seed: int, epochs: int | None) -> dict[str, Any]:
    """The training configuration of a run."""
    spec = merged(DEFAULT, VARIANTS[variant]) | {"seed": seed}
    if variant in ("lightgbm", "linear"):
        spec["model"] = VARIANTS[variant]["model"]
        del spec["batch"], spec["optimizer"]
    return spec if epochs is None else spec | {"max_epochs": epochs}


def train(cache: Path, folder: Path, spec: dict[str, Any], threads: int) -> None:
    """Make the run, or go on with it; nothing happens when it is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "daily.npz").exists():
        return
    config = folder / "config.json"
    config.write_text(json.dumps(spec, indent=1))
    command: list[str | Path] = [Path(sys.executable).with_name("gogooku3"), "train", str(config)]
    command += ["--dataset", str(cache)]
    command += ["--out", str(folder / "run"), "--threads", str(threads), "--json"]
    if (folder / "run" / "resume.pt").exists():
        command.append("--resume")
    with (folder / "events.jsonl").open("a") as events:
        subprocess.run(command, stdout=events, check=True)
    torch.set_num_threads(threads)
    panel = Panel.open(cache)
    model = load_model(best(folder))
    daily = {
        part: daily_rank_ic(judge, panel)
        for part, judge in (("valid", model), ("test", on_test(model)))
    }
    np.savez(folder / "daily.npz", **daily)


def best(folder: Path) -> Path:
    """The checkpoint of the best epoch, as the run's last event has it."""
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    ends = [event for event in events if event["type"] == "end"]
    return folder / "run" / f"epoch-{ends[-1]['best_epoch']:04d}.gk3"


def on_test(model: ScoringModel) -> ScoringModel:
    """The same model, whose validation days are the days after its own."""
    config = model.manifest.config
    split = config.data.split.model_copy(
        update={"train_end": VALID_END, "valid_end": date(2019, 12, 30)}
    )
    data = config.data.model_copy(update={"split": split})
    manifest = model.manifest.model_copy(
        update={"config": config.model_copy(update={"data": data})}
    )
    return ScoringModel(model.model, manifest, model.device)


def daily_rank_ic(model: ScoringModel, panel: Panel) -> NDArray[np.float64]:
    """rank_ic_DK on the model's validation days."""
    found: NDArray[np.float64] = model.evaluation(panel).series.values["rank_ic"].numpy()
    return found


def collected(runs: Path, part: str) -> dict[str, dict[str, Series]]:
    """Per variant and seed, rank_ic_DK."""
    found = {}
    for variant in VARIANTS:
        paths = sorted(runs.glob(f"{variant}-*/daily.npz"))
        if paths:
            found[variant] = {
                path.parent.name.rpartition("-")[2]: np.load(path)[part] for path in paths
            }
    return found


def mean(seeds: Iterable[Series]) -> Series:
    """rank_ic_DK, averaged over the seeds."""
    averaged: Series = np.mean(list(seeds), axis=0)
    return averaged


def cell(series_D: Series, horizon: int) -> str:
    """Mean, t and interval."""
    known = series_D[np.isfinite(series_D)]
    t, interval = newey_west_t(known, horizon), block_bootstrap(known, horizon)
    if t is None or interval is None:
        return f"{known.mean():.4f}"
    return f"{known.mean():.4f} ({t:.1f}) [{interval.low:.4f}, {interval.high:.4f}]"


def report(runs: Path) -> None:
    """Print the tables."""
    for part in ("valid", "test"):
        found = collected(runs, part)
        heads = " | ".join(f"h = {h}" for h in HORIZONS)
        print(f"\n{part}: rank IC (t) [95 % interval]\n\n| variant | seeds | {heads} |")
        print("|---|---|" + "---|" * len(HORIZONS))
        for variant, seeds in found.items():
            rank_ic_DK = mean(seeds.values())
            cells = [cell(rank_ic_DK[:, k], h) for k, h in enumerate(HORIZONS)]
            print(f"| {variant} | {len(seeds)} | " + " | ".join(cells) + " |")
        print(f"\n{part}: `default` less the variant, the same days and seeds\n")
        print(f"| variant | seeds | {heads} |\n|---|---|" + "---|" * len(HORIZONS))
        for variant, others in found.items():
            if variant == "default" or "default" not in found:
                continue
            both = sorted(found["default"].keys() & others.keys())
            if not both:
                continue
            more_DK = mean(found["default"][seed] - others[seed] for seed in both)
            cells = [cell(more_DK[:, k], h) for k, h in enumerate(HORIZONS)]
            print(f"| {variant} | {len(both)} | " + " | ".join(cells) + " |")


def together(cache: Path, runs: Path, variants: Sequence[str]) -> None:
    """Print the rank IC of the mean of the runs' scores."""
    panel = Panel.open(cache)
    folders = sorted(path for name in variants for path in runs.glob(f"{name}-*"))
    models = [load_model(best(folder)) for folder in folders]
    print(f"{len(models)} runs of {', '.join(variants)}\n")
    print("| part | " + " | ".join(f"h = {h}" for h in HORIZONS) + " | mean |")
    print("|---|" + "---|" * (len(HORIZONS) + 1))
    for part, as_judge in (("valid", lambda model: model), ("test", on_test)):
        found = [as_judge(model).evaluation(panel) for model in models]
        scored_DS1, return_DSK = found[0].scored_DS[..., None], found[0].return_DSK
        score_DSK = torch.zeros_like(return_DSK)
        for one in found:
            assert torch.equal(one.scored_DS, found[0].scored_DS)
            count_D11 = scored_DS1.sum(1, keepdim=True)
            mean_D1K = (one.score_DSK * scored_DS1).sum(1, keepdim=True) / count_D11
            centred_DSK = (one.score_DSK - mean_D1K) * scored_DS1
            deviation_D1K = (centred_DSK.square().sum(1, keepdim=True) / count_D11).sqrt()
            score_DSK += centred_DSK / deviation_D1K
        rank_ic_KD = [
            rank_correlation(score_DSK[..., k], return_DSK[..., k], ~return_DSK[..., k].isnan())
            for k in range(len(HORIZONS))
        ]
        cells = [
            cell(rank_ic_D.numpy(), h) for rank_ic_D, h in zip(rank_ic_KD, HORIZONS, strict=True)
        ]
        mean_of_all = torch.stack(rank_ic_KD).nanmean().item()
        print(f"| {part} | " + " | ".join(cells) + f" | {mean_of_all:.4f} |")


def main() -> None:
    """Train or report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=["train", "report", "together"])
    parser.add_argument("cache", type=Path, help="a dataset's .arrow file")
    parser.add_argument("runs", type=Path, help="folder of the runs")
    parser.add_argument("--variant", choices=list(VARIANTS), default="default")
    parser.add_argument("--and-also", nargs="*", choices=list(VARIANTS), default=[])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    if given.action == "report":
        report(given.runs)
        return
    if given.action == "together":
        torch.set_num_threads(given.threads)
        together(given.cache, given.runs, [given.variant, *given.and_also])
        return
    for seed in given.seeds:
        folder = given.runs / f"{given.variant}-{seed}"
        train(given.cache, folder, specification(given.variant, seed, given.epochs), given.threads)


if __name__ == "__main__":
    main()
