"""The HTTP client: `from gogooku3.client import Client`, or `AsyncClient`."""

from gogooku3.client.asynchronous import AsyncClient
from gogooku3.client.client import DEFAULT_URL, Client
from gogooku3.client.errors import (
    ApiError,
    BuildError,
    ChecksumError,
    ClientError,
    UnreachableError,
)
from gogooku3.client.resources import (
    Attempt,
    BestTrial,
    Checkpoint,
    Daily,
    Dataset,
    Event,
    Importance,
    Job,
    LogChunk,
    MetricPoint,
    MetricSeries,
    Sweep,
    Trial,
    Worker,
)

__all__ = [
    "DEFAULT_URL",
    "ApiError",
    "AsyncClient",
    "Attempt",
    "BestTrial",
    "BuildError",
    "Checkpoint",
    "ChecksumError",
    "Client",
    "ClientError",
    "Daily",
    "Dataset",
    "Event",
    "Importance",
    "Job",
    "LogChunk",
    "MetricPoint",
    "MetricSeries",
    "Sweep",
    "Trial",
    "UnreachableError",
    "Worker",
]
