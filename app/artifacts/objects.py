"""Artifacts in an object store that many machines share; each machine's folder holds only what its
own trainers are writing."""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import fsspec

from app.artifacts.folder import Artifacts, drop
from app.artifacts.stored import MissingFileError, StoreAwayError, StoredFile

PIECE_BYTES = 8 * 2**20
"""Each piece is a request of its own."""
_S3: dict[str, Any] = {
    "config_kwargs": {
        "connect_timeout": 5,
        "read_timeout": 30,
        "retries": {"max_attempts": 3, "mode": "standard"},
    },
    "use_listings_cache": False,
    "skip_instance_cache": True,
}
"""Credentials, region and endpoint come from where AWS' own tools take them."""


@dataclass(frozen=True)
class StoredObject:
    """An object of the store."""

    system: Any
    key: str
    size: int
    version: str
    piece_bytes: int = PIECE_BYTES

    def read_at(self, start: int, count: int) -> bytes:
        """At most `count` bytes from `start`."""
        end = min(start + count, self.size)
        if start >= end:
            return b""
        with _told(self.key):
            return bytes(self.system.cat_file(self.key, start=start, end=end))

    def stream(self) -> IO[bytes]:
        """The same as a file, read piece by piece."""
        return io.BufferedReader(_Reading(self), PIECE_BYTES)

    def close(self) -> None:
        """Nothing is held open."""


class _Reading(io.RawIOBase):
    """An object read from one place on."""

    def __init__(self, stored: StoredObject) -> None:
        self._stored = stored
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._stored.size}[whence]
        self._at = max(0, origin + offset)
        return self._at

    def readall(self) -> bytes:
        # The inherited one asks for some kilobytes at a time, and each time is a request.
        content = self._stored.read_at(self._at, self._stored.size)
        self._at += len(content)
        return content

    def readinto(self, buffer: Any) -> int:
        content = self._stored.read_at(self._at, len(buffer))
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)


class SharedArtifacts(Artifacts):
    """Objects under `s3://BUCKET/PREFIX`, named as the files of the folder are."""

    is_shared = True

    def __init__(self, folder: Path, url: str) -> None:
        """Raises StoreAwayError without the package that speaks to the store."""
        super().__init__(folder)
        try:
            self._system, root = fsspec.core.url_to_fs(url, **_S3)
        except ImportError as error:
            raise StoreAwayError(
                f"{url} needs a package that is not installed: pip install 'gogooku3[s3]'"
            ) from error
        self._root = str(root).rstrip("/")

    def open(self, path: str) -> StoredFile:
        """An object for reading."""
        key = self._key(path)
        with _told(key):
            found = self._system.info(key)
        if found["type"] != "file":
            raise MissingFileError(path)
        version = str(found.get("ETag", "")).strip('"')
        return StoredObject(self._system, key, int(found["size"]), version)

    def size(self, path: str) -> int | None:
        """Bytes of an object; None when it is not there."""
        try:
            with _told(path):
                return int(self._system.info(self._key(path))["size"])
        except MissingFileError:
            return None

    def names(self, job_id: str) -> list[str]:
        """The places of all objects of a job."""
        with _told(job_id):
            found = self._system.find(self._key(job_id))
        return sorted(str(key).removeprefix(f"{self._root}/") for key in found)

    def remove(self, path: str) -> None:
        """Remove an object."""
        if self.size(path) is None:
            raise MissingFileError(path)
        with _told(path):
            self._system.rm_file(self._key(path))

    def publish(self, path: str) -> None:
        """Put a file into the store: there whole, or not at all."""
        local = self.folder / path
        if not local.is_file():
            raise MissingFileError(path)
        try:
            with _told(path):
                self._system.put_file(str(local), self._key(path))
        except MissingFileError as error:
            if not local.is_file():
                raise
            raise StoreAwayError(f"the object store has no place for {path}: {error}") from error

    def fetch(self, path: str) -> bool:
        """Have an object as a file of the folder."""
        local = self.folder / path
        partial = local.with_name(f".{local.name}.{uuid.uuid4().hex}")
        local.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _told(path):
                self._system.get_file(self._key(path), str(partial))
            os.replace(partial, local)
        except MissingFileError:
            return False
        finally:
            partial.unlink(missing_ok=True)
        return True

    def clear(self, path: str) -> None:
        """Drop this machine's copies."""
        drop(self.folder / path)

    def trouble(self) -> str | None:
        """The disk of the folder, and whether the store takes, gives and removes an object."""
        probe = self._key(f".probe-{uuid.uuid4().hex}")
        try:
            with _told(probe):
                self._system.pipe_file(probe, b"probe")
                is_same = self._system.cat_file(probe) == b"probe"
                self._system.rm_file(probe)
        except (StoreAwayError, MissingFileError) as error:
            return str(error)
        if not is_same:
            return f"the object store {self._root} does not give back what it was given"
        return super().trouble()

    def _key(self, path: str) -> str:
        if not path or ".." in path.split("/") or path.startswith("/"):
            raise MissingFileError(path)
        return f"{self._root}/{path}"


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Whatever the store's client raises, as one of our two errors."""
    try:
        yield
    except FileNotFoundError as error:
        raise MissingFileError(f"{what}: {error}") from error
    except Exception as error:
        # The clients of stores have errors of their own, by no common name.
        reason = str(error) or type(error).__name__
        raise StoreAwayError(f"the object store failed at {what}: {reason}") from error
