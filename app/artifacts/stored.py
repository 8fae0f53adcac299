"""A file among the artifacts, open for reading, wherever it lies."""

from __future__ import annotations

from typing import IO, Protocol


class MissingFileError(Exception):
    """The file is not there, is not a plain file, or does not lie among the artifacts."""


class StoreAwayError(Exception):
    """The object store does not answer, or refuses what is asked of it."""


class StoredFile(Protocol):
    """Read by several threads in turn; `close` it, or hand it over with `stream`."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def version(self) -> str:
        """Another one after each change of the content."""

    @property
    def piece_bytes(self) -> int:
        """How much is worth reading at once."""

    def read_at(self, start: int, count: int) -> bytes:
        """At most `count` bytes from `start`. Raises StoreAwayError."""

    def stream(self) -> IO[bytes]:
        """A seekable file of the same bytes, which is closed in place of this one."""

    def close(self) -> None:
        """Let it go."""
