"""What jobs leave behind: checkpoints, resume states, outputs, logs."""

from __future__ import annotations

from app.artifacts.folder import Artifacts
from app.artifacts.objects import SharedArtifacts
from app.artifacts.stored import MissingFileError, StoreAwayError, StoredFile
from app.settings import Settings

__all__ = [
    "Artifacts",
    "MissingFileError",
    "SharedArtifacts",
    "StoreAwayError",
    "StoredFile",
    "artifacts_of",
]


def artifacts_of(settings: Settings) -> Artifacts:
    """Where the settings say that they are kept. Raises StoreAwayError without the extra that an
    object store needs."""
    if settings.object_store is None:
        return Artifacts(settings.artifacts)
    return SharedArtifacts(settings.artifacts, settings.object_store)
