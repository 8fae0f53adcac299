"""Artifacts in a folder of this machine, or of a file system that all machines see."""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

from app.artifacts.stored import MissingFileError, StoredFile
from app.disk import low_disk

PIECE_BYTES = 4 * 1024 * 1024
"""Smaller ones cost a hand-over between threads each: 512 KiB gave two thirds of the speed."""


@dataclass(frozen=True)
class LocalFile:
    """An open file."""

    descriptor: int
    piece_bytes: int = PIECE_BYTES

    @cached_property
    def _state(self) -> os.stat_result:
        return os.fstat(self.descriptor)

    @property
    def size(self) -> int:
        """Bytes when it was opened."""
        return self._state.st_size

    @property
    def version(self) -> str:
        """Files are replaced, never written in place."""
        return f"{self._state.st_ino:x}-{self._state.st_mtime_ns:x}-{self._state.st_size:x}"

    def read_at(self, start: int, count: int) -> bytes:
        """At most `count` bytes from `start`."""
        return os.pread(self.descriptor, count, start)

    def stream(self) -> IO[bytes]:
        """The same as a file."""
        return os.fdopen(self.descriptor, "rb")

    def close(self) -> None:
        """Close it."""
        os.close(self.descriptor)


class Artifacts:
    """Files by their place below a folder, `JOB/attempt-N/NAME` and `JOB/log.txt`.

    Children write into the folder; whoever records a file calls `publish` first. Here that has
    nothing to do: what is written is where it is read.
    """

    is_shared = False
    """Whether files have to be brought to a store, and from there, by `publish` and `fetch`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, path: str) -> StoredFile:
        """A file for reading. Raises MissingFileError, and StoreAwayError where there is a store.

        The path is resolved before it is opened, and the last part is opened without following a
        link, so that nothing a trainer leaves in its folder can lead out of it.
        """
        root = os.path.realpath(self.folder)
        full = os.path.normpath(os.path.join(root, path))
        if os.path.realpath(full) != full or not full.startswith(root + os.sep):
            raise MissingFileError(path)
        try:
            descriptor = os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise MissingFileError(path) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise MissingFileError(path)
        return LocalFile(descriptor)

    def size(self, path: str) -> int | None:
        """Bytes of a file; None when it is not there. Raises StoreAwayError."""
        try:
            return (self.folder / path).lstat().st_size
        except OSError:
            return None

    def names(self, job_id: str) -> list[str]:
        """The places of all files of a job, in order. Raises StoreAwayError."""
        found = (path for path in (self.folder / job_id).rglob("*") if path.is_file())
        return sorted(str(path.relative_to(self.folder)) for path in found)

    def remove(self, path: str) -> None:
        """Remove a file. Raises MissingFileError, StoreAwayError, OSError."""
        try:
            (self.folder / path).unlink()
        except FileNotFoundError as error:
            raise MissingFileError(path) from error

    def publish(self, path: str) -> None:
        """Let everybody see a file that was written here.

        Raises MissingFileError, StoreAwayError.
        """

    def fetch(self, path: str) -> bool:
        """Have a file in the folder; whether it is there. Raises StoreAwayError, OSError."""
        return (self.folder / path).is_file()

    def clear(self, path: str) -> None:
        """Drop this machine's copies of a file or folder that was published."""

    def trouble(self) -> str | None:
        """What will keep jobs from leaving anything before long, in words; None = nothing."""
        return low_disk(self.folder)


def drop(path: Path) -> None:
    """Remove a file or folder that may be gone."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
