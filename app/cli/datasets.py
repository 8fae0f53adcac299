"""Finding a dataset by name under the home, or by the path of its file."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from app.settings import Settings

if TYPE_CHECKING:
    from gogooku3.data.header import DatasetHeader


def dataset_path(name: str) -> Path:
    """The file of a dataset: `name` itself when it ends in .arrow, else NAME.arrow in the home.

    Raises UsageError for a name that no job could use.
    """
    from pydantic import TypeAdapter, ValidationError

    from app.cli.failures import UsageError
    from gogooku3.config import DatasetName

    if name.endswith(".arrow"):
        return Path(name)
    try:
        TypeAdapter(DatasetName).validate_python(name)
    except ValidationError:
        raise UsageError(
            f"{name!r} is no name for a dataset (letters, digits, `.`, `_` and `-`, at most 64) "
            "and no path of one (it ends in .arrow)"
        ) from None
    return Settings().caches / f"{name}.arrow"


def find_dataset(name: str) -> DatasetHeader:
    """The header of a dataset. Raises DatasetNotFoundError naming those there are, and whatever
    `read_header` raises."""
    from gogooku3.data.header import list_datasets, read_header
    from gogooku3.errors import DatasetNotFoundError

    path = dataset_path(name)
    if path.exists():
        return read_header(path)
    known = [header.name for header in list_datasets(path.parent)]
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        hint = f"did you mean {near[0]!r}?"
    elif known:
        hint = f"there are: {', '.join(known)}"
    else:
        hint = "make one with `gogooku3 data synth NAME` or `gogooku3 data build FILE --name NAME`"
    raise DatasetNotFoundError(f"no dataset {name!r} in {path.parent}; {hint}")
