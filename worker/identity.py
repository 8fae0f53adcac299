"""Whether a dataset's file is still the one that a trainer has mapped."""

from __future__ import annotations

import os
from pathlib import Path

from gogooku3.data.header import read_header
from gogooku3.errors import DatasetError, DatasetUnreadableError

_Stamp = tuple[int, int, int, int]
"""Device, inode, size, time of the last write."""


class DatasetIdentity:
    """Watches the file of a dataset from before its trainer opens it until `close`.

    A look is two `stat`s. A file that was replaced is the same dataset when its header has the same
    fingerprint: the trainer keeps the first file mapped. That one must not be written to, whatever
    its header says: the trainer would read the new bytes.
    """

    def __init__(self, path: Path, fingerprint: str | None) -> None:
        """Raises DatasetUnreadableError, OSError."""
        self._path = path
        self._fingerprint = fingerprint
        try:
            # Held open, so that no other file gets its inode. A missing one is the trainer's to
            # tell.
            self._file = path.open("rb") if path.is_file() else None
        except PermissionError as error:
            raise DatasetUnreadableError(
                f"the worker's user may not read {path}; let it, then retry the job"
            ) from error
        self._first = self._held()
        self._known = self._first

    def change(self) -> str | None:
        """What became of the file, in words; None = nothing that matters."""
        if self._file is None:
            return None
        if self._held() != self._first:
            return "was written to"
        named = self._named()
        if named == self._known:
            return None
        if named is None:
            return "was removed"
        try:
            fingerprint = read_header(self._path).fingerprint
        except DatasetError as error:
            return f"was replaced by something else: {error.code}"
        if fingerprint != self._fingerprint:
            return f"was replaced: its fingerprint is now {fingerprint[:12]}"
        self._known = named
        return None

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _held(self) -> _Stamp | None:
        return None if self._file is None else _stamp(os.fstat(self._file.fileno()))

    def _named(self) -> _Stamp | None:
        try:
            return _stamp(self._path.stat())
        except OSError:
            return None


def _stamp(found: os.stat_result) -> _Stamp:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
