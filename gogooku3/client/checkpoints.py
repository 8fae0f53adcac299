"""`client.checkpoints`: downloads that resume and are verified."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from urllib.parse import quote

import httpx

from gogooku3.client.errors import ApiError, ChecksumError
from gogooku3.client.resources import Checkpoint
from gogooku3.client.transport import Transport


class Checkpoints:
    """The checkpoints of a server, by their own identifiers."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get(self, checkpoint_id: str) -> Checkpoint:
        """The checkpoint's epoch, metrics, size and sha256."""
        response = self._transport.request(
            "GET", f"/v1/checkpoints/{quote(checkpoint_id, safe='')}"
        )
        return Checkpoint.model_validate_json(response.content)

    def download(self, checkpoint_id: str, path: str | Path) -> Path:
        """Fetch the file to `path` (a file, or a folder that gets a telling file name).

        A download that was broken off goes on from `PATH.part`, also in a later process. The file
        appears under its name only when its sha256 is right. Raises ApiError, ChecksumError,
        UnreachableError.
        """
        checkpoint = self.get(checkpoint_id)
        target = Path(path)
        if target.is_dir():
            target = target / checkpoint.filename
        part = target.with_name(target.name + ".part")
        is_resumed = part.exists()
        self._fill(checkpoint, part)
        if is_resumed and _sha256(part) != checkpoint.sha256:
            # The part was of some other file, or damaged: once more, from the start.
            part.unlink()
            self._fill(checkpoint, part)
        if _sha256(part) != checkpoint.sha256:
            part.unlink()
            raise ChecksumError(f"{checkpoint_id} arrived with the wrong sha256; nothing is kept")
        os.replace(part, target)
        return target

    def _fill(self, checkpoint: Checkpoint, part: Path) -> None:
        """Append to `part` until it has the checkpoint's size."""
        backoff = self._transport.backoff()
        while (have := _size(part)) != checkpoint.size:
            if have > checkpoint.size:
                part.unlink()
                have = 0
            problem: Exception = ConnectionError("the download ended early")
            try:
                self._append(checkpoint, part, have)
            except httpx.TransportError as error:
                problem = error
            except ApiError as error:
                if error.status < 500:
                    raise
                problem = error
            now = _size(part)
            if now > have:
                backoff.succeeded()
            if now != checkpoint.size and not backoff.pause():
                raise self._transport.unreachable(problem) from problem

    def _append(self, checkpoint: Checkpoint, part: Path, have: int) -> None:
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
            headers["If-Range"] = f'"{checkpoint.sha256}"'
        path = f"/v1/checkpoints/{checkpoint.id}/content"
        with self._transport.streamed(path, headers=headers) as response:
            mode = "ab" if response.status_code == 206 else "wb"
            with part.open(mode) as file:
                for chunk in response.iter_raw():
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
