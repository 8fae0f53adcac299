"""Check what a client sent, against the definition of a job and against what it names."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from app.domain import InvalidSpecError
from app.jobs.sources import SourcePathError, find_source
from gogooku3.config import (
    DataConfig,
    DatasetName,
    DatasetSpec,
    FileSource,
    JobPatch,
    JobSpec,
    Problem,
    check,
    pointer,
)
from gogooku3.data.header import SUFFIX, DatasetHeader, check_data, read_header
from gogooku3.errors import DatasetError, DatasetNotFoundError

_NAME: TypeAdapter[str] = TypeAdapter(DatasetName)


def check_spec(given: Any, caches: Path) -> tuple[JobSpec, DatasetHeader]:
    """The job that `given` asks for and the header of its dataset, a file in `caches`.

    Raises InvalidSpecError with every problem of the specification, of the dataset and of how the
    two fit together, as far as each can be judged on its own.
    """
    spec, problems = check(JobSpec, given)
    problems = with_unstorable(problems, given)
    name = spec.dataset if spec is not None else _dataset_name(given)
    header = None
    if name is not None:
        header, fault = open_dataset(name, caches)
        problems += [fault] if fault else []
    data = spec.config.data if spec is not None else _data_config(given)
    if header is not None and data is not None:
        problems += _data_problems(header, data)
    if spec is None or header is None or problems:
        raise InvalidSpecError(problems)
    return spec, header


def check_build(given: Any, data: Path) -> DatasetSpec:
    """The build that `given` asks for; a file source must lie below the folder `data`.

    Raises InvalidSpecError with every problem.
    """
    spec, problems = check(DatasetSpec, given)
    problems = with_unstorable(problems, given)
    source = _file_source(given)
    if source is not None:
        try:
            find_source(data, source.path)
        except SourcePathError as error:
            problems.append(Problem("/source/path", error.code, str(error)))
    if spec is None or problems:
        raise InvalidSpecError(problems)
    return spec


def check_patch(given: Any) -> JobPatch:
    """The change that `given` asks for. Raises InvalidSpecError with every problem."""
    patch, problems = check(JobPatch, given)
    problems = with_unstorable(problems, given)
    if patch is None or problems:
        raise InvalidSpecError(problems)
    return patch


def with_unstorable(problems: list[Problem], given: Any) -> list[Problem]:
    """The problems, and those of texts that cannot be stored in their place."""
    unstorable = list(_unstorable(given, ()))
    named = {problem.pointer for problem in unstorable}
    return unstorable + [problem for problem in problems if problem.pointer not in named]


def _file_source(given: Any) -> FileSource | None:
    """The file source when it is valid by itself; what is wrong with another is known already."""
    if not isinstance(given, dict) or not isinstance(given.get("source"), dict):
        return None
    if given["source"].get("kind") != "file":
        return None
    source, problems = check(FileSource, given["source"])
    return None if problems else source


def _dataset_name(given: Any) -> str | None:
    """The dataset's name when it is a valid one; what is wrong with another is known already."""
    if not isinstance(given, dict):
        return None
    try:
        return _NAME.validate_python(given.get("dataset"))
    except ValidationError:
        return None


def _data_config(given: Any) -> DataConfig | None:
    """The part of the configuration that concerns the data, when it is valid by itself."""
    if not isinstance(given, dict) or not isinstance(given.get("config"), dict):
        return None
    data, problems = check(DataConfig, given["config"].get("data"))
    return None if problems else data


def open_dataset(name: str, caches: Path) -> tuple[DatasetHeader | None, Problem | None]:
    """The header of a dataset in the folder `caches`, or what is wrong with it."""
    path = caches / f"{name}{SUFFIX}"
    try:
        return _header(path, _stamp(path)), None
    except DatasetNotFoundError as error:
        known = sorted(path.stem for path in caches.glob(f"*{SUFFIX}"))
        return None, Problem("/dataset", error.code, _unknown(name, known))
    except DatasetError as error:
        # The message names the file's place on the server, which is not the client's business.
        text = str(error).replace(str(caches / f"{name}{SUFFIX}"), f"dataset {name!r}")
        return None, Problem("/dataset", error.code, text)


@lru_cache(maxsize=64)
def _header(path: Path, _stamp: tuple[int, ...] | None) -> DatasetHeader:
    """The header of the file as it is stamped: parsing its hundred features takes a millisecond."""
    return read_header(path)


@lru_cache(maxsize=256)
def _data_problems(header: DatasetHeader, data: DataConfig) -> tuple[Problem, ...]:
    """What is wrong with the data's configuration on the dataset: splitting ten years of days
    takes milliseconds, and many jobs share a split."""
    found = check_data(header, data)
    return tuple(Problem("/config" + one.pointer, one.code, one.message) for one in found)


def _stamp(path: Path) -> tuple[int, ...] | None:
    """What another file, or another content, would have different."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    if near:
        return f"no dataset {name!r}; did you mean {' or '.join(map(repr, near))}?"
    if known:
        return f"no dataset {name!r}; there are: {', '.join(known[:20])}"
    return f"no dataset {name!r}; make one with `gogooku3 data synth` or `gogooku3 data build`"


def _unstorable(value: Any, at: tuple[Any, ...]) -> Iterator[Problem]:
    """Texts with a NUL, which JSON allows and PostgreSQL cannot store."""
    if isinstance(value, str) and "\x00" in value:
        yield Problem(pointer(at), "nul-character", "must not contain the NUL character")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _unstorable(item, (*at, key))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _unstorable(item, (*at, place))
