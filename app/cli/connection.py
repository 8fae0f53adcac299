"""The connection to the server that a command talks to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gogooku3.client import Client

RETRY_FOR_S = 5.0
"""A person waits this long for a server that is not there."""
FOLLOW_FOR_S = 120.0
"""What follows a job sits out a restart of the server."""


def connect(url: str | None, api_key: str | None, *, is_following: bool = False) -> Client:
    """A client of the server at `url`, else of the one in the person's configuration file, else of
    the one that runs in the home, else of the default address on this machine.

    Raises UsageError for a file that cannot be used.
    """
    # The client takes a third of a second to load: commands without a server do without it.
    from app.cli.config_file import read_config_file
    from app.embedded.home import running_up
    from app.settings import Settings
    from gogooku3.client import Client

    if url is None or api_key is None:
        file = read_config_file()
        # A key is for the server that stands beside it, never for one that was named elsewhere.
        api_key = api_key or (file.api_key if url in (None, file.url) else None)
        url = url or file.url
    if url is None:
        record = running_up(Settings().home)
        if record is not None:
            url = record.url
    return Client(url, api_key, retry_for_s=FOLLOW_FOR_S if is_following else RETRY_FOR_S)
