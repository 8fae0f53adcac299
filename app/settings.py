"""The few environment variables there are. Everything else is in the job's specification."""

from __future__ import annotations

from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Network = IPv4Network | IPv6Network


def parse_networks(given: str) -> list[Network]:
    """`10.1.0.0/16,127.0.0.0/8` as networks. Raises ValueError."""
    return [ip_network(one.strip()) for one in given.split(",") if one.strip()]


class Settings(BaseSettings):
    """`GOGOOKU3_*`, read once where a process starts and handed down from there."""

    model_config = SettingsConfigDict(env_prefix="GOGOOKU3_", extra="ignore", frozen=True)

    home: Path = Field(default=Path(".gogooku3"))
    """Folder of everything the server keeps: pg/, valkey/, caches/, data/, artifacts/, logs/."""
    database_url: str | None = None
    """postgresql+psycopg://...; unset = the embedded PostgreSQL under the home."""
    redis_url: str | None = None
    """redis://... or unix://...; unset = the embedded Valkey under the home."""
    artifacts_url: str | None = None
    """file:///PATH for another folder than artifacts/ under the home, or s3://BUCKET/PREFIX for a
    store that API and workers of many machines share."""
    lease_s: float = Field(default=60.0, ge=2.0, le=3600.0)
    """A worker that has not renewed its lease for this long has lost the job."""
    requests_per_minute: int = Field(default=6000, ge=0)
    """How often an API key without a limit of its own may ask, over all API processes; 0 = no
    limit. Requests to an open server on loopback are not counted."""
    webhook_networks: str = ""
    """Networks that are not public and that webhooks may be sent to all the same, separated by
    commas: `10.1.0.0/16,127.0.0.0/8`. Unset: public addresses only."""

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().resolve()

    @field_validator("database_url")
    @classmethod
    def _driver(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith("postgresql+psycopg://"):
            raise ValueError("must start with postgresql+psycopg://")
        return url

    @field_validator("redis_url")
    @classmethod
    def _scheme(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must start with redis://, rediss:// or unix://")
        return url

    @field_validator("artifacts_url")
    @classmethod
    def _store(cls, url: str | None) -> str | None:
        if not url:  # a compose file can only pass it on empty
            return None
        scheme, _, rest = url.partition("://")
        if scheme == "file" and rest.startswith("/"):
            return url
        if scheme == "s3" and rest.strip("/"):
            return url.rstrip("/")
        raise ValueError("must be file:///PATH or s3://BUCKET or s3://BUCKET/PREFIX")

    @field_validator("webhook_networks")
    @classmethod
    def _networks(cls, given: str) -> str:
        parse_networks(given)
        return given

    @cached_property
    def caches(self) -> Path:
        """Folder of the datasets, `NAME.arrow`."""
        return self.home / "caches"

    @cached_property
    def data(self) -> Path:
        """Folder of the tables that datasets may be built from; the server only reads it, but for
        `jquants`, where it keeps what it fetches."""
        return self.home / "data"

    @cached_property
    def artifacts(self) -> Path:
        """Folder of what jobs leave behind, one folder per job; with an object store, of what this
        machine's jobs are writing."""
        if self.artifacts_url is not None and self.object_store is None:
            return Path(self.artifacts_url.removeprefix("file://"))
        return self.home / "artifacts"

    @property
    def object_store(self) -> str | None:
        """The object store's address; None = artifacts are files in a folder."""
        url = self.artifacts_url
        return url if url is not None and url.startswith("s3://") else None

    @cached_property
    def logs(self) -> Path:
        """Folder of the processes' own logs."""
        return self.home / "logs"
