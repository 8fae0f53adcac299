"""A table of any supported shape, read one column at a time so that it may exceed memory."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import weakref
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from gogooku3.errors import SourceDataError

FORMATS = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}
"""File types by suffix. `arrow` is the IPC file format."""
GUESSED_ROWS = 10_000
"""Rows of a CSV file from which its numeric columns are told from text."""
READ_ERRORS = (pl.exceptions.PolarsError, pa.ArrowException, OSError, UnicodeDecodeError)
"""What Polars and Arrow raise on damaged bytes; on some of them Polars panics."""
Tabular = pl.DataFrame | pl.LazyFrame | Path | Sequence[Path]


@dataclass(frozen=True)
class Part:
    """One file of a table."""

    file: Path
    """Where its values are read from."""
    name: str
    """The name it was given under."""
    folders: dict[str, str]
    """Values of its partition folders, the same for all its rows."""


class Table:
    """The rows of a source in their order; columns are read when asked for."""

    def __init__(
        self,
        frame: pl.LazyFrame,
        about: dict[str, Any],
        numeric: Collection[str] | None = None,
        where: str = "the table",
    ) -> None:
        self._frame = frame
        self._where = where
        schema = _asked(frame.collect_schema, where)
        self.names: tuple[str, ...] = tuple(schema.names())
        self.numeric: frozenset[str] = frozenset(
            (name for name, dtype in schema.items() if is_number(dtype))
            if numeric is None
            else numeric
        )
        """Columns that hold numbers or truth values, by their type (CSV: by their first rows)."""
        self.about = about
        """file (name only), size in bytes, sha256; None where there is no file."""

    def column(self, name: str) -> pl.Series:
        """All values of a column. Raises SourceDataError when the file is damaged."""
        return self.columns([name])[name]

    def columns(self, names: Sequence[str]) -> pl.DataFrame:
        """All values of several columns."""
        frame: pl.DataFrame = _asked(self._frame.select(names).collect, self._where)
        return frame

    def empty_columns(self, names: Sequence[str]) -> list[str]:
        """Those of the columns that have no value on any row; none of them is held in memory."""
        schema = _asked(self._frame.collect_schema, self._where)
        empty = []
        for name in names:
            column = pl.col(name)
            known = column.is_not_null()
            if schema[name].is_float():
                known &= column.is_not_nan()
            elif schema[name] == pl.String():
                known &= column != ""
            empty.append((~known.any()).alias(name))
        if not names:
            return []
        found = _asked(self._frame.select(empty).collect, self._where).row(0)
        return [name for name, is_empty in zip(names, found, strict=True) if is_empty]


def is_number(dtype: pl.DataType) -> bool:
    """Whether values of this type are numbers or truth values."""
    return dtype.is_numeric() or dtype == pl.Boolean


def open_table(given: Tabular) -> Table:
    """Open a frame, a file, a folder of files (partition folders like `year=2015` become columns)
    or several files. CSV is first rewritten as a temporary Parquet file.

    Raises SourceDataError naming the file that cannot be read.
    """
    if isinstance(given, pl.LazyFrame | pl.DataFrame):
        return Table(given.lazy(), {"file": None, "size": None, "sha256": None})
    paths = [given] if isinstance(given, Path) else list(given)
    if not paths:
        raise SourceDataError("no file is given")
    parts = [part for path in paths for part in _parts(path)]
    kinds = {FORMATS[part.file.suffix.lower()] for part in parts}
    if len(kinds) > 1:
        raise SourceDataError(
            f"{paths[0].name} holds files of several types ({', '.join(sorted(kinds))}); "
            "one table has one type"
        )
    kind = kinds.pop()
    about = _about(paths, [part.file for part in parts])
    if kind == "csv":
        return _open_csv(parts, about)
    if kind == "arrow":
        for part in parts:
            _asked(partial(_validate_arrow, part.file), part.name)
    scan = pl.scan_parquet if kind == "parquet" else pl.scan_ipc
    return Table(_one_frame(parts, scan), about, where=about["file"])


def _parts(path: Path) -> list[Part]:
    """The files of a path, in order, with the values of their partition folders."""
    known = ", ".join(FORMATS)
    if path.is_file():
        if path.suffix.lower() not in FORMATS:
            raise SourceDataError(f"cannot read {path.name}: known file types are {known}")
        return [Part(path, path.name, {})]
    if not path.is_dir():
        raise SourceDataError(f"there is no file or folder {path}")
    parts = []
    for file in sorted(path.rglob("*")):
        inside = file.relative_to(path).parts
        # Spark and its kin keep their own notes in names like these.
        if not file.is_file() or any(part.startswith((".", "_")) for part in inside):
            continue
        if file.suffix.lower() in FORMATS:
            pairs = [part.split("=", 1) for part in inside[:-1] if "=" in part]
            parts.append(Part(file, str(file.relative_to(path)), dict(pairs)))
    if not parts:
        raise SourceDataError(f"folder {path} holds no file of a known type: {known}")
    return parts


def _about(paths: Sequence[Path], files: Sequence[Path]) -> dict[str, Any]:
    name = paths[0].resolve().name + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
    size = sum(file.stat().st_size for file in files)
    digests = []
    for file in files:
        with file.open("rb") as opened:
            digests.append(hashlib.file_digest(opened, "sha256").hexdigest())
    if len(files) == 1:
        return {"file": name, "size": size, "sha256": digests[0]}
    together = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    return {"file": name, "size": size, "sha256": together, "files": len(files)}


def _one_frame(parts: Sequence[Part], scan: Callable[[Any], pl.LazyFrame]) -> pl.LazyFrame:
    """The files under one another."""
    schemas = []
    for part in parts:
        schema = _asked(scan(part.file).collect_schema, part.name)
        for name in part.folders:
            if name in schema:
                raise SourceDataError(
                    f"{part.name} has a column {name!r} and lies in a folder {name}=...; "
                    "rename one of them"
                )
        schemas.append({**schema, **dict.fromkeys(part.folders, pl.String())})
    first = schemas[0]
    for part, schema in zip(parts, schemas, strict=True):
        lacking, more = first.keys() - schema.keys(), schema.keys() - first.keys()
        if lacking or more:
            said = (("it lacks", lacking), ("it adds", more))
            raise SourceDataError(
                f"{part.name} has other columns than {parts[0].name}: "
                + "; ".join(f"{what} {', '.join(sorted(names))}" for what, names in said if names)
            )
    if all(schema == first for schema in schemas) and not any(part.folders for part in parts):
        return scan([part.file for part in parts])
    # Types may differ from file to file (whole prices read as integers, say): their supertype.
    frames = [
        scan(part.file)
        .with_columns(pl.lit(value).alias(name) for name, value in part.folders.items())
        .select(list(first))
        for part in parts
    ]
    try:
        frame = pl.concat(frames, how="vertical_relaxed", rechunk=False)
        frame.collect_schema()
    except pl.exceptions.PolarsError as error:
        raise SourceDataError(f"the files do not fit together: {first_line(error)}") from error
    return frame


def _validate_arrow(file: Path) -> None:
    """Polars maps Arrow files and trusts their offsets, which in a damaged one lead anywhere in
    memory: they are checked first."""
    with pa.memory_map(str(file)) as mapped, pa.ipc.open_file(mapped) as reader:
        for place in range(reader.num_record_batches):
            reader.get_batch(place).validate(full=True)


def _open_csv(parts: Sequence[Part], about: dict[str, Any]) -> Table:
    """Every value is kept as its text: a code 0050 stays one, and what is no number is told with
    its row. Each column of a CSV file would cost a pass over all of it, hence the Parquet file;
    it goes when nobody holds the table any more."""
    folder = Path(tempfile.mkdtemp(prefix="gogooku3-csv-"))
    try:
        texts = []
        for place, part in enumerate(parts):
            text = folder / f"{place:06d}.parquet"
            frame = pl.scan_csv(part.file, infer_schema=False)
            _asked(partial(frame.sink_parquet, text), part.name)
            texts.append(replace(part, file=text))
        guessed = pl.scan_csv(parts[0].file, infer_schema_length=GUESSED_ROWS)
        schema = _asked(guessed.collect_schema, parts[0].name)
        numeric = {name for name, dtype in schema.items() if is_number(dtype)}
        table = Table(_one_frame(texts, pl.scan_parquet), about, numeric, about["file"])
    except BaseException:
        shutil.rmtree(folder)
        raise
    weakref.finalize(table, shutil.rmtree, folder, ignore_errors=True)
    return table


def _asked(ask: Callable[[], Any], what: str) -> Any:
    try:
        return ask()
    except (*READ_ERRORS, pl.exceptions.PanicException) as error:
        raise SourceDataError(f"cannot read {what}: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """An error's first line; Polars adds its query plan below."""
    return (str(error).splitlines() or [type(error).__name__])[0]
