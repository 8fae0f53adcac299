"""`data`: make datasets and look into them, without a server."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.cli.console import answer, answer_json, note
from app.cli.datasets import dataset_path
from app.cli.failures import CommandError, UsageError
from app.cli.options import AsJson
from app.cli.stages import stage_bar
from app.cli.table import cell, duration, print_fields, print_table, size
from gogooku3.data.graphs import remove_graphs

if TYPE_CHECKING:
    from gogooku3.config.source import SourceSpec
    from gogooku3.data.header import DatasetHeader

commands = typer.Typer(help="Make datasets and look into them.", no_args_is_help=True)
fetching = typer.Typer(help="Fetch tables from services.", no_args_is_help=True)
commands.add_typer(fetching, name="fetch")

Horizons = Annotated[
    str, typer.Option(metavar="DAYS,...", help="Forward horizons of the targets, in market days.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace a dataset of that name.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.add_typer(commands, name="data")


@commands.command()
def synth(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the dataset.")],
    stocks: Annotated[int, typer.Option(min=20, max=20_000, help="Stocks of the market.")] = 300,
    days: Annotated[int, typer.Option(min=150, max=20_000, help="Market days.")] = 900,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same market.")] = 0,
    horizons: Horizons = "1,5,10,20",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Simulate a market with a planted signal, and make a dataset of it.

    Example: gogooku3 data synth demo --stocks 500 --seed 3
    """
    path = _new_path(name, force)
    wanted = _horizons(horizons)
    # Polars takes a while to load: only the commands that build datasets do.
    from gogooku3.data.build import build
    from gogooku3.data.synth import synthesise

    began = time.monotonic()
    with stage_bar(f"simulating {name}") as tell:
        market = synthesise(stocks=stocks, days=days, seed=seed, horizons=wanted)
        header = build(
            market.table,
            name=name,
            out=path,
            horizons=wanted,
            planted=market.planted,
            progress=tell,
        )
    remove_graphs(path)  # those of the dataset it replaces
    _report(header, time.monotonic() - began, as_json=as_json)


Table = Annotated[
    Path | None,
    typer.Argument(
        metavar="[TABLE]",
        help="A .parquet, .csv or .arrow file, or a folder of them; may stand in the spec instead.",
    ),
]
Spec = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="YAML or JSON that says which column is what."),
]


@commands.command()
def build(
    name: Annotated[str, typer.Option(help="Name of the dataset.")],
    table: Table = None,
    spec: Spec = None,
    top: Annotated[
        int | None,
        typer.Option(
            min=8,
            metavar="K",
            help="Each day's universe: the K most traded stocks.",
            show_default="all that trade regularly",
        ),
    ] = None,
    horizons: Annotated[
        str | None,
        typer.Option(
            metavar="DAYS,...",
            help="Forward horizons of the targets, in market days.",
            show_default="those of the spec's ready-made targets, or 1,5,10,20",
        ),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(metavar="NAME,...", help="Which features, in this order.", show_default="all"),
    ] = None,
    normalisation: Annotated[
        Literal["rank", "rank_gauss", "zscore"],
        typer.Option(help="How a feature is placed in its day."),
    ] = "rank",
    storage: Annotated[
        Literal["float32", "float16"],
        typer.Option(help="How features are stored; float16 halves the file."),
    ] = "float32",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Build a dataset from daily bars, ready-made features or both.

    Examples: gogooku3 data build bars.parquet --name jp --top 2000

    gogooku3 data build --spec features.yaml --name mine --storage float16
    """
    path = _new_path(name, force)
    wanted = _horizons(horizons) if horizons is not None else None
    chosen = [part.strip() for part in features.split(",")] if features is not None else None
    paths, read = _source(table, spec)
    from gogooku3.data.build import build as build_cache

    began = time.monotonic()
    with stage_bar(f"building {name}") as tell:
        header = build_cache(
            paths,
            name=name,
            out=path,
            spec=read,
            features=chosen,
            horizons=wanted,
            top=top,
            normalisation=normalisation,
            storage=storage,
            progress=tell,
        )
    remove_graphs(path)  # those of the dataset it replaces
    _report(header, time.monotonic() - began, as_json=as_json)


@commands.command()
def validate(table: Table = None, spec: Spec = None, as_json: AsJson = False) -> None:
    """Check a table without building: what would be refused, and what is odd.

    Exits with 1 when there is an error: the table would be refused.

    Example: gogooku3 data validate bars.parquet
    """
    paths, read = _source(table, spec)
    from gogooku3.data.source import examine
    from gogooku3.data.source.checks import CHECKS

    bars, report = examine(paths, read)
    if as_json:
        answer_json({"ok": bars is not None, "report": [found.as_json() for found in report]})
    elif report:
        print_table(
            ["check", "severity", "count", "share", "what", "such as"],
            [
                [
                    found.check,
                    found.severity,
                    found.count,
                    f"{found.share:.2%} of {CHECKS[found.check].unit}",
                    CHECKS[found.check].meaning,
                    "; ".join(found.examples),
                ]
                for found in report
            ],
        )
    if bars is None:
        errors = sum(found.severity == "error" for found in report)
        raise CommandError(f"{errors} of the checks found errors: the table cannot be used")
    note(
        f"usable: {len(bars.codes)} stocks on {len(bars.calendar)} days, {bars.calendar[0]} to "
        f"{bars.calendar[-1]}; {len(bars.ready_features)} ready-made features"
    )


@fetching.command()
def jquants(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where days are kept.")],
    start: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="First day.")],
    end: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Last day.", show_default="today"),
    ] = None,
    requests_per_minute: Annotated[
        int, typer.Option(min=1, max=600, help="What your plan allows.")
    ] = 60,
    everything: Annotated[
        bool, typer.Option("--everything", help="Keep funds, trusts and the like, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch daily bars of the Japanese market from J-Quants, with sectors, adjusted for splits.

    Needs the extra `jquants` and an API key in JQUANTS_API_KEY or jquants-api.toml. Days that are
    in FOLDER already are not fetched again: run the same again to go on, or to add new days.

    Example: gogooku3 data fetch jquants bars --start 2012-01-04
    """
    last = end.date() if end is not None else date.today()
    if last < start.date():
        raise UsageError(f"--end {last} lies before --start {start.date()}")
    from gogooku3.data.jquants import fetch

    began = time.monotonic()
    with stage_bar("fetching") as tell:
        bars = fetch(
            folder,
            start.date(),
            last,
            requests_per_minute=requests_per_minute,
            stocks_only=not everything,
            progress=tell,
        )
    if as_json:
        answer_json({"path": str(bars), "size_bytes": bars.stat().st_size})
    else:
        answer(f"{bars}, {size(bars.stat().st_size)}")
    note(f"in {duration(time.monotonic() - began)}; next: gogooku3 data build {bars} --name NAME")


def _source(table: Path | None, spec: Path | None) -> tuple[list[Path], SourceSpec]:
    """The files to read, and how."""
    from gogooku3.config.source import SourceSpec, read_source_spec

    read = read_source_spec(spec) if spec is not None else SourceSpec()
    paths = [table] if table is not None else [Path(name) for name in read.path]
    if not paths:
        raise UsageError("name a TABLE, or a --spec whose `path` names it")
    return paths, read


@commands.command()
def inspect(
    dataset: Annotated[
        str, typer.Argument(metavar="NAME|PATH", help="A dataset, by name or by file.")
    ],
    profile: Annotated[
        bool,
        typer.Option("--profile", help="Also each feature's quantiles and rank IC per horizon."),
    ] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Read every byte, compare with the fingerprints, and work the targets out again "
            "from the daily returns.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a dataset holds: days, stocks, universe, features, targets, the source's report."""
    from app.cli.datasets import find_dataset
    from gogooku3.data.audit import audit_targets
    from gogooku3.data.inspect import describe
    from gogooku3.data.inspect import profile as profile_of

    header = find_dataset(dataset)
    described = describe(header, verify=verify)
    if verify:
        described["targets_against_prices"] = [asdict(found) for found in audit_targets(header)]
    if profile:
        described["profile"] = profile_of(header.path)
    if as_json:
        answer_json(described)
        return
    tables = {name: rows for name, rows in described.items() if _is_table(rows)}
    print_fields(dict(_flat({k: v for k, v in described.items() if k not in tables})))
    for name, listed in tables.items():
        rows = [dict(_flat(row)) for row in listed]
        print_table(list(rows[0]), [list(row.values()) for row in rows], title=name)


def _new_path(name: str, force: bool) -> Path:
    path = dataset_path(name)
    if path.exists() and not force:
        raise CommandError(f"there is a dataset {name!r} already; --force replaces it")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _horizons(given: str) -> tuple[int, ...]:
    parts = given.split(",")
    if not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise UsageError(f"--horizons is a list of days like 1,5,10,20, not {given!r}")
    return tuple(sorted({int(part) for part in parts}))


def _report(header: DatasetHeader, took_s: float, *, as_json: bool) -> None:
    planted = (header.planted or {}).get("rank_ic")
    if as_json:
        answer_json(
            {
                "name": header.name,
                "path": str(header.path),
                "rows": header.rows,
                "stocks": header.stocks,
                "days": len(header.calendar),
                "first_day": header.calendar[0].isoformat(),
                "last_day": header.calendar[-1].isoformat(),
                "features": len(header.features),
                "horizons": list(header.horizons),
                "size_bytes": header.size_bytes,
                "fingerprint": header.fingerprint,
                "planted_rank_ic": planted,
            }
        )
        return
    answer(
        f"{header.name}: {header.stocks} stocks, {len(header.calendar)} days "
        f"({header.calendar[0]} to {header.calendar[-1]}), {header.rows} rows, "
        f"{len(header.features)} features, {size(header.size_bytes)}"
    )
    if planted:
        by_horizon = sorted(planted.items(), key=lambda pair: int(pair[0]))
        shown = ", ".join(f"{cell(value)} at {days} d" for days, value in by_horizon)
        answer(f"planted rank IC: {shown}")
    note(f"wrote {header.path} in {duration(took_s)}")


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _flat(value: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested objects as dotted names, lists as one line."""
    pairs: list[tuple[str, Any]] = []
    for name, inner in value.items():
        if isinstance(inner, dict):
            pairs += _flat(inner, f"{prefix}{name}.")
        elif isinstance(inner, list):
            pairs.append((prefix + name, ", ".join(map(str, inner))))
        else:
            pairs.append((prefix + name, inner))
    return pairs
