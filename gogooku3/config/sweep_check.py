"""Check a sweep before any trial: every path, every value, and how they fit together."""

from __future__ import annotations

import difflib
import itertools
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gogooku3.config.distribution import DistributionConfig
from gogooku3.config.job import ResourcesConfig, gpu_fault
from gogooku3.config.paths import find_path, known_paths, nearest_path, value_at, with_values
from gogooku3.config.problems import Problem, check, pointer
from gogooku3.config.search_space import Params, SearchSpace
from gogooku3.config.sweep import GridSampler, NonePruner, SweepSpec, WilcoxonPruner
from gogooku3.config.train import TrainConfig

CHOOSE_BEST = ("loss", "ic", "rank_ic", "icir", "rank_icir", "sharpe")
"""Validation metrics by which a run can choose its best epoch."""
OVER_HORIZONS = (*CHOOSE_BEST, "sharpe_net", "turnover", "hit_rate")
"""Validation metrics that also have a mean over horizons, `valid/NAME`."""
PER_HORIZON = (
    *OVER_HORIZONS,
    "ic_t",
    "rank_ic_t",
    "rank_ic_low",
    "rank_ic_high",
    "long_short",
    "base_rate",
)
DAILY_SERIES = {"ic": "ic", "rank_ic": "rank_ic", "icir": "ic", "rank_icir": "rank_ic"} | {
    "sharpe": "long_short",
    "sharpe_net": "long_short_net",
    "long_short": "long_short",
}
"""Metric -> the daily series behind it."""
MOST_TRIED = 1500
_LEARNS = ("tpe", "cmaes", "gp")
Fits = Callable[[TrainConfig], list[Problem]]
"""What is wrong with a configuration on the dataset at hand; pointers into the configuration."""


@dataclass(frozen=True)
class CheckedSweep:
    """A sweep that can be run as it stands."""

    spec: SweepSpec
    space: SearchSpace
    warnings: tuple[str, ...]


def check_sweep(given: Any, fits: Fits) -> tuple[CheckedSweep | None, list[Problem]]:
    """The sweep that `given` asks for and no problems, or none and every problem found."""
    spec, problems = check(SweepSpec, given)
    problems += _check_paths(given)
    if spec is None or problems:
        return None, problems
    base = _with_metric(spec, given["config"])
    problems += [*_check_goals(spec), *_check_metric(spec, base), *_check_rest(spec)]
    config, faults = check(TrainConfig, base)
    if config is None or problems:
        faults = [Problem(f"/config{p.pointer}", p.code, p.message) for p in faults]
        return None, problems or faults
    spec = spec.model_copy(update={"config": config})
    resources = spec.resources
    if not any(path.startswith("batch") for path in spec.search_space):
        problems += _check_gpus(resources, config, "/resources/gpus")
        if problems:
            return None, problems

    def fits_all(config: TrainConfig) -> list[Problem]:
        return [*fits(config), *_check_gpus(resources, config, "/batch")]

    try:
        space = SearchSpace.make(base, config, spec.search_space)
    except ValueError as error:
        return None, [Problem("/search_space", "circular-conditions", str(error))]
    problems += [
        Problem(
            _place(path),
            "dead-parameter",
            f"no run reads {path}: it counts only where {condition}",
        )
        for path, condition in space.dead
    ]
    problems += [
        *_check_grid(spec, space),
        *_check_values(space, fits_all),
    ]
    problems += _check_enqueued(spec, space)
    if problems:
        return None, problems
    if isinstance(spec.sampler, GridSampler):
        size = (space.size() or 0) + len(spec.enqueue)
        spec = spec.model_copy(update={"n_trials": min(spec.n_trials, size)})
    return CheckedSweep(spec, space, tuple(warnings_of(spec, space))), []


def _check_gpus(resources: ResourcesConfig, config: TrainConfig, at: str) -> Iterator[Problem]:
    if (fault := gpu_fault(resources, config)) is not None:
        yield Problem(at, fault.type.replace("_", "-"), fault.message())


def _check_paths(given: Any) -> Iterator[Problem]:
    """Unknown paths, named with the nearest known one, whatever else is wrong."""
    space = given.get("search_space") if isinstance(given, dict) else None
    if not isinstance(space, dict):
        return
    known = known_paths()
    for path, distribution in space.items():
        place = find_path(path, known)
        if place is None:
            yield Problem(_place(path), "unknown-path", _unknown(path, known))
        elif place.is_part and isinstance(distribution, dict) and "choice" not in distribution:
            message = (
                f"{path} is not a single value: give a choice of whole objects, or a path below"
            )
            yield Problem(_place(path), "path-of-part", message)
        inside = [other for other in space if other.startswith(f"{path}.")]
        if inside:
            message = f"{path} holds {inside[0]}: choose the whole or its parts, not both"
            yield Problem(_place(path), "path-twice", message)
        when = distribution.get("when") if isinstance(distribution, dict) else None
        for other in when if isinstance(when, dict) else ():
            if find_path(other, known) is None:
                at = pointer(("search_space", path, "when", other))
                yield Problem(at, "unknown-path", _unknown(other, known))


def _unknown(path: str, known: Mapping[str, Any]) -> str:
    near = nearest_path(path, known)
    hint = f"did you mean {near!r}?" if near else "docs/configuration.md lists the paths"
    return f"the configuration has no {path!r}; {hint}"


def _place(path: str) -> str:
    return pointer(("search_space", path))


def _with_metric(spec: SweepSpec, base: Mapping[str, Any]) -> dict[str, Any]:
    """The base configuration, its best epoch chosen by the objective unless it says how."""
    metric = spec.goals[0].metric
    if value_at(base, "early_stopping.metric") is not None or not _chooses_best(metric):
        return dict(base)
    return with_values(base, {"early_stopping.metric": metric})


def _chooses_best(metric: str) -> bool:
    return _name(metric) in CHOOSE_BEST


def _name(metric: str) -> str:
    return metric.removeprefix("valid/").partition("@")[0]


def _check_goals(spec: SweepSpec) -> Iterator[Problem]:
    named = [("objective", goal.metric) for goal in (spec.objective,) if spec.objectives is None]
    for place, goal in enumerate(spec.objectives or ()):
        named.append((f"objectives/{place}", goal.metric))
    named += [(f"constraints/{i}", one.metric) for i, one in enumerate(spec.constraints)]
    for at, metric in named:
        yield from _check_name(spec, f"/{at}/metric", metric)
    if spec.objectives is not None:
        if "objective" in spec.model_fields_set:
            message = "give objective or objectives, not both"
            yield Problem("/objectives", "objective-twice", message)
        metrics = [goal.metric for goal in spec.objectives]
        if len(set(metrics)) < len(metrics):
            yield Problem("/objectives", "objective-repeat", "an objective is given twice")
    for at, goal in [(at, goal) for (at, _), goal in zip(named, spec.goals, strict=False)]:
        wanted = "minimize" if _name(goal.metric) == "loss" else "maximize"
        if _chooses_best(goal.metric) and goal.direction != wanted:
            message = f"{goal.metric} is better when it is {_WORDS[wanted]}: say {wanted}"
            yield Problem(f"/{at}/direction", "objective-direction", message)


_WORDS = {"maximize": "larger", "minimize": "smaller"}


def _check_name(spec: SweepSpec, at: str, metric: str) -> Iterator[Problem]:
    name, _, horizon = metric.removeprefix("valid/").partition("@")
    names = PER_HORIZON if horizon else OVER_HORIZONS
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"did you mean 'valid/{near[0]}'?" if near else f"known are: {', '.join(names)}"
        yield Problem(at, "unknown-metric", f"there is no metric {metric!r}; {hint}")
    elif horizon and int(horizon) not in spec.config.data.horizons:
        message = f"{metric} names horizon {horizon}, but the horizons are "
        yield Problem(at, "horizon-unknown", message + str(list(spec.config.data.horizons)))


def _check_metric(spec: SweepSpec, base: Mapping[str, Any]) -> Iterator[Problem]:
    """The best checkpoint of a trial must be the one that the objective likes best."""
    metric = value_at(base, "early_stopping.metric")
    wanted = [goal.metric for goal in spec.goals if _chooses_best(goal.metric)]
    if wanted and metric not in wanted:
        message = f"chooses the best epoch by {metric}, but the objective is {wanted[0]}: "
        at = "/config/early_stopping/metric"
        yield Problem(at, "objective-mismatch", message + "leave it out, and the objective does")
    if "early_stopping.metric" in spec.search_space:
        message = "trials whose best epoch is chosen in different ways cannot be compared"
        yield Problem(_place("early_stopping.metric"), "objective-mismatch", message)


def _check_rest(spec: SweepSpec) -> Iterator[Problem]:
    if spec.seeds_per_trial > 1 and "seed" in spec.search_space:
        message = "with several seeds a trial, the seed is not for the search to choose"
        yield Problem(_place("seed"), "seed-chosen", message)
    if spec.seed_penalty and spec.seeds_per_trial == 1:
        message = "one seed has no standard deviation: raise seeds_per_trial"
        yield Problem("/seed_penalty", "seeds-missing", message)
    pruner = spec.pruner
    if not isinstance(pruner, NonePruner) and len(spec.goals) > 1:
        message = "trials with several objectives cannot be pruned: say none"
        yield Problem("/pruner/kind", "pruner-objectives", message)
    elif isinstance(pruner, WilcoxonPruner) and _name(spec.goals[0].metric) not in DAILY_SERIES:
        message = f"{spec.goals[0].metric} has no daily series; these have: "
        yield Problem("/pruner/kind", "no-series", message + ", ".join(DAILY_SERIES))
    if spec.warm_start_from and spec.sampler.kind not in _LEARNS:
        message = f"sampler {spec.sampler.kind} does not learn from trials; {_LEARNS} do"
        yield Problem("/warm_start_from", "sampler-forgets", message)
    if len(spec.enqueue) > spec.n_trials:
        message = f"{len(spec.enqueue)} trials are given, but n_trials is {spec.n_trials}"
        yield Problem("/enqueue", "enqueue-many", message)
    if spec.sampler.kind == "cmaes" and len(spec.goals) > 1:
        message = "cmaes knows one objective only; tpe and gp know several"
        yield Problem("/sampler/kind", "sampler-objectives", message)


def _check_grid(spec: SweepSpec, space: SearchSpace) -> Iterator[Problem]:
    if not isinstance(spec.sampler, GridSampler):
        return
    for parameter in space.parameters:
        if parameter.distribution.points is None:
            message = "a grid needs values that can be counted: give a choice or a step"
            yield Problem(_place(parameter.path), "grid-uncountable", message)


def _check_values(space: SearchSpace, fits: Fits) -> Iterator[Problem]:
    """Every value by itself, then values together: all of a small space, else every pair of
    corners and some drawn at random."""
    refused: set[tuple[str, str]] = set()
    told: set[tuple[str, str]] = set()
    for chosen in _singles(space):
        path = next(reversed(chosen))
        for problem in _refusals(space, chosen, fits):
            refused.add((path, _text(chosen[path])))
            yield _value_problem(path, {path: chosen[path]}, problem)
            break
    tried = 0
    for chosen in _combinations(space):
        if any((path, _text(value)) in refused for path, value in chosen.items()):
            continue
        tried += 1
        if tried > MOST_TRIED:
            return
        for problem in _refusals(space, chosen, fits):
            path = _blamed(chosen, problem)
            if (path, problem.code) not in told:
                told.add((path, problem.code))
                yield _value_problem(path, _smallest(space, chosen, fits), problem)
            break


def _singles(space: SearchSpace) -> Iterator[Params]:
    """Each corner of each parameter, with the first values under which it is chosen at all."""
    for parameter in space.parameters:
        needed = _to_reach(space, parameter.path)
        if needed is None:
            continue
        for value in parameter.distribution.corners:
            yield {**needed, parameter.path: value}


def _to_reach(space: SearchSpace, path: str) -> Params | None:
    """Values of the parameters before `path` under which it is active."""
    by_path = {parameter.path: parameter for parameter in space.parameters}
    chosen: Params = {}
    for condition in by_path[path].conditions:
        above = by_path.get(condition.path)
        needed = _to_reach(space, condition.path) if above else None
        if above is None or needed is None:
            return None
        value = next((v for v in above.distribution.corners if condition.holds(v)), None)
        if value is None:
            return None
        chosen |= needed | {condition.path: value}
    return chosen


def _combinations(space: SearchSpace) -> Iterator[Params]:
    size = space.size()
    if size is not None and size <= MOST_TRIED:
        yield from space.grid()
        return
    ends = {p.path: _ends(p.distribution) for p in space.parameters}
    for one, other in itertools.combinations(space.parameters, 2):
        for first, second in itertools.product(ends[one.path], ends[other.path]):
            chosen = {one.path: first, other.path: second}
            if space.is_active(one, chosen) and space.is_active(other, chosen):
                yield chosen
    draw = random.Random(0)
    for _ in range(300):
        drawn: Params = {}
        for parameter in space.parameters:
            if space.is_active(parameter, drawn):
                drawn[parameter.path] = draw.choice(parameter.distribution.corners)
        yield drawn


def _ends(distribution: DistributionConfig) -> list[Any]:
    corners = distribution.corners
    if distribution.choice is not None and len(corners) <= 6:
        return corners
    return [corners[at] for at in dict.fromkeys((0, len(corners) // 2, len(corners) - 1))]


def _refusals(space: SearchSpace, chosen: Params, fits: Fits) -> Iterable[Problem]:
    config, problems = check(TrainConfig, space.config(chosen))
    return problems if config is None else fits(config)


def _smallest(space: SearchSpace, chosen: Params, fits: Fits) -> Params:
    """The values that together are refused, without those that do not matter."""
    for path in list(chosen):
        fewer = {other: value for other, value in chosen.items() if other != path}
        if any(True for _ in _refusals(space, fewer, fits)):
            chosen = fewer
    return chosen


def _blamed(chosen: Params, problem: Problem) -> str:
    at = problem.pointer.strip("/").replace("/", ".")
    near = [path for path in chosen if at.startswith(path) or path.startswith(at)]
    return near[0] if near and at else next(reversed(chosen))


def _value_problem(path: str, values: Params, problem: Problem) -> Problem:
    told = " with ".join(f"{one} = {_text(value)}" for one, value in values.items())
    return Problem(_place(path), "value-refused", f"{told}: {problem.message}")


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _check_enqueued(spec: SweepSpec, space: SearchSpace) -> Iterator[Problem]:
    by_path = {parameter.path: parameter for parameter in space.parameters}
    for place, values in enumerate(spec.enqueue):
        for path, value in values.items():
            at = pointer(("enqueue", place, path))
            if path not in by_path:
                near = difflib.get_close_matches(path, by_path, n=1, cutoff=0.4)
                hint = f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(by_path)}"
                yield Problem(at, "not-searched", f"the search space has no {path!r}; {hint}")
            elif not by_path[path].distribution.contains(value):
                told = f"must be {by_path[path].distribution}; given {_text(value)}"
                yield Problem(at, "outside-space", told)
            elif any(
                c.path in values and not c.holds(values[c.path]) for c in by_path[path].conditions
            ):
                message = "is not read with the other values of this trial"
                yield Problem(at, "dead-parameter", message)


def warnings_of(spec: SweepSpec, space: SearchSpace) -> Iterator[str]:
    """What a person should know of a search space that is valid."""
    for parameter in space.parameters:
        if parameter.conditions:
            told = " and ".join(map(str, parameter.conditions))
            yield f"{parameter.path} is chosen only where {told}"
        if parameter.distribution.points is not None and len(parameter.distribution.points) == 1:
            yield f"{parameter.path} has one value: it could stand in the base configuration"
    if spec.sampler.kind in ("cmaes", "gp", "qmc") and space.is_conditional:
        yield f"{spec.sampler.kind} chooses parameters with a condition at random; tpe learns them"
    choices = [p.path for p in space.parameters if p.distribution.choice is not None]
    if spec.sampler.kind == "cmaes" and choices:
        yield f"cmaes chooses at random among choices ({', '.join(choices)}); tpe learns them"
