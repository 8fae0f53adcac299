"""What every endpoint may use; made once by `create_app` and kept in `app.state`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from app.api.figures import Figures
from app.api.keyring import Keyring
from app.api.record import Batch, Place
from app.api.rendered import Listed, Listing, Rendered
from app.api.submissions import Asked, Created
from app.api.together import Alike, Together
from app.api.wakes import Wakes
from app.artifacts import Artifacts
from app.broker.limiter import Limiter
from app.broker.ringer import Ringer
from app.broker.wake import Wake
from app.db.database import Database
from app.settings import Settings


@dataclass(frozen=True)
class Server:
    """The parts behind the API."""

    settings: Settings
    database: Database
    artifacts: Artifacts
    doorbell: Ringer
    wake: Wake
    """Tells the streams of every process that a job's record grew."""
    wakes: Wakes
    """Hears it, for the streams of this process."""
    keyring: Keyring
    limiter: Limiter
    figures: Figures
    jobs: Together[str, Rendered]
    """Jobs as they are answered, for the many who ask for them again and again, ..."""
    lists: Alike[Listing, Listed]
    """... and lists of them."""
    submissions: Together[Asked, Created]
    """Jobs that many submit at the same time."""
    streamed: Together[Place, Batch]
    """What came after some place of a job's record, for its streams."""
    redis_url: str
    open_access: bool
    """Whether a direct request from this machine needs no API key."""

    def close(self) -> None:
        """Close every connection."""
        self.doorbell.close()
        self.wake.close()
        self.limiter.close()
        self.database.dispose()


def server_of(request: Request) -> Server:
    """The parts behind the API that this request came to."""
    server = request.app.state.server
    assert isinstance(server, Server)
    return server


async def _server(request: Request) -> Server:
    # A plain function would be run in a thread.
    return server_of(request)


ServerDep = Annotated[Server, Depends(_server)]
