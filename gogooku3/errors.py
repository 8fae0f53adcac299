"""What can go wrong in the library, in the words of the field. No torch, no HTTP.

Each class's docstring is its default message: one sentence that says what to do.
`code` is stable and machine-readable; `failure_class` is what a job's `reason.class` shows.
"""

from __future__ import annotations

from typing import Any, ClassVar


class Gogooku3Error(Exception):
    """Something went wrong in gogooku3."""

    code: ClassVar[str] = "error"
    failure_class: ClassVar[str] = "infra"

    def __init__(
        self, message: str | None = None, findings: tuple[dict[str, Any], ...] = ()
    ) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])
        self.findings = findings
        """The same in parts that a program can use."""


class ConfigError(Gogooku3Error):
    """The configuration is not valid."""

    code = "invalid-config"
    failure_class = "user"


class DatasetError(Gogooku3Error):
    """The dataset cannot be used."""

    code = "dataset"
    failure_class = "data"


class DatasetNotFoundError(DatasetError):
    """No dataset has that name; `gogooku3 data synth` or `data build` makes one."""

    code = "unknown-dataset"


class DatasetCorruptError(DatasetError):
    """The dataset's file is truncated or damaged; build it again."""

    code = "dataset-corrupt"


class DatasetUnreadableError(DatasetError):
    """The dataset's file may not be read by this user; let it be read."""

    code = "dataset-unreadable"


class DatasetVersionError(DatasetError):
    """The dataset was written in a layout this version cannot read; build it again."""

    code = "dataset-version"


class DatasetMismatchError(DatasetError):
    """The dataset does not fit the configuration or the checkpoint."""

    code = "dataset-mismatch"


class SourceDataError(DatasetError):
    """The input table cannot be turned into a dataset."""

    code = "source-data"


class SourceUnavailableError(DatasetError):
    """The service that the source's data comes from cannot be reached."""

    code = "source-unavailable"
    failure_class = "infra"


class CredentialsError(DatasetError):
    """J-Quants needs an API key: set JQUANTS_API_KEY, or put it into jquants-api.toml."""

    code = "credentials"
    failure_class = "user"


class MissingExtraError(DatasetError):
    """An optional package is not installed."""

    code = "missing-extra"
    failure_class = "user"


class LeakError(DatasetError):
    """Training would see the future: the dataset or the split lets it in."""

    code = "leak"


class SplitError(DatasetError):
    """The split leaves a part without days."""

    code = "empty-split"


class DivergedError(Gogooku3Error):
    """The loss or the weights became NaN or infinite."""

    code = "diverged"
    failure_class = "diverged"


class CheckpointError(Gogooku3Error):
    """The checkpoint cannot be read."""

    code = "checkpoint"
    failure_class = "data"
