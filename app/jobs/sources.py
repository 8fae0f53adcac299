"""Input tables that clients may name: those below the data root, and nothing else."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath

from gogooku3.errors import SourceDataError

SUFFIXES = (".parquet", ".csv", ".arrow")
JQUANTS = "jquants"
"""Folder below the data root of the days that were fetched from J-Quants."""
_LISTED = 1000
"""Names that are looked at for a hint."""


class SourcePathError(SourceDataError):
    """The name does not lead to a table below the data root."""

    code = "unknown-source"


def find_source(root: Path, name: str) -> Path:
    """The file or folder that `name`, relative with `/` between folders, stands for below `root`.

    The root may be a link; nothing below it may lead out of it. Messages never tell where the
    root is. Raises SourcePathError.
    """
    given = PurePosixPath(name)
    if given.is_absolute() or ".." in given.parts or "\\" in name or "\x00" in name:
        raise SourcePathError(
            f"must be a name below the server's data root, without `..`; given {name!r}"
        )
    path = root / given
    try:
        is_there = path.exists()
    except OSError:  # longer than a file's name can be
        is_there = False
    if not is_there:
        raise SourcePathError(f"no table {name!r} below the server's data root{_hint(root, name)}")
    inside = root.resolve()
    found = path.resolve()
    if not found.is_relative_to(inside) or found == inside:
        raise SourcePathError(f"{name!r} leads out of the server's data root")
    if found.is_dir():
        inner = list(_tables(found))
        if not inner:
            raise SourcePathError(f"folder {name!r} holds no table: {', '.join(SUFFIXES)}")
        if not all((found / table).resolve().is_relative_to(inside) for table in inner):
            raise SourcePathError(f"a file in {name!r} leads out of the server's data root")
        return found
    if not found.is_file():
        raise SourcePathError(f"{name!r} is not a file")
    if found.suffix.lower() not in SUFFIXES:
        raise SourcePathError(f"{name!r} is no table: known file types are {', '.join(SUFFIXES)}")
    return found


def _hint(root: Path, name: str) -> str:
    known = sorted(islice(_tables(root), _LISTED))
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return f"; did you mean {' or '.join(map(repr, near))}?"
    if known:
        return f"; there are: {', '.join(known[:20])}"
    return ", which is empty: put files into the folder `data` of the server's home"


def _tables(root: Path) -> Iterator[str]:
    for path in root.rglob("*"):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            yield path.relative_to(root).as_posix()
