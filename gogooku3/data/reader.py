"""Reads a cache's one record batch, checked before anything relies on it. Needs pyarrow only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from gogooku3.errors import DatasetCorruptError

ERRORS = (pa.ArrowException, OSError, KeyError, IndexError, ValueError, SystemError)
"""What pyarrow and numpy raise on bytes that are not what they should be."""


def read_batch(path: Path, content: pa.Buffer) -> tuple[Mapping[bytes, bytes], pa.RecordBatch]:
    """The schema's metadata and the record batch of an Arrow file's bytes, without copying them.

    Arrow trusts the offsets of text, and reads outside the file where they are damaged: so the
    dictionaries, which are small, are checked in full, and the columns by their sizes.

    Raises DatasetCorruptError.
    """
    try:
        with pa.ipc.open_file(content) as reader:
            if reader.num_record_batches != 1:
                raise ValueError(f"{reader.num_record_batches} record batches instead of 1")
            batch = reader.get_batch(0)
            batch.validate()
            for column in batch.columns:
                if isinstance(column, pa.DictionaryArray):
                    column.dictionary.validate(full=True)
            return reader.schema.metadata or {}, batch
    except ERRORS as error:
        raise DatasetCorruptError(
            f"{path} cannot be read ({error}): it is damaged; build it again"
        ) from error
