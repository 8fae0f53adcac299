"""The API process: `python -m app.main --host HOST --port PORT`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import sys
import time
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_address
from socket import socket

import uvicorn
from fastapi import FastAPI
from sqlalchemy.exc import OperationalError

from app.api import (
    actions,
    audit,
    checkpoints,
    datasets,
    errors,
    events,
    jobs,
    logs,
    metrics,
    openapi,
    operations,
    outputs,
    pages,
    queue,
    sweeps,
    trials,
    webhooks,
)
from app.api.deliverer import Deliverer
from app.api.envelope import Envelope
from app.api.figures import Figures
from app.api.keyring import Keyring
from app.api.record import batches
from app.api.rendered import RenderedJobs
from app.api.server import Server
from app.api.submissions import AT_ONCE, SIDE_BY_SIDE, Submissions
from app.api.together import Alike, Together
from app.api.wakes import Wakes
from app.artifacts import StoreAwayError, artifacts_of
from app.broker.doorbell import Doorbell
from app.broker.limiter import Limiter
from app.broker.ringer import Ringer
from app.broker.wake import Wake
from app.db.database import Database
from app.embedded.home import NotRunningError, addresses
from app.jobs import keys
from app.json_log import configure
from app.settings import Settings, parse_networks

PARTS = (
    jobs,
    actions,
    events,
    metrics,
    logs,
    checkpoints,
    outputs,
    sweeps,
    trials,
    datasets,
    queue,
    webhooks,
    audit,
    operations,
    pages,
)
"""The endpoints, in the order in which the description lists them."""
log = logging.getLogger("gogooku3.api")
START_RETRY_S = 1.0
SHUTDOWN_S = 5
"""How long requests in progress may go on when the process is asked to stop."""


def create_app(
    settings: Settings, *, database_url: str, redis_url: str, open_access: bool
) -> FastAPI:
    """The application; everything it shares lives in `app.state.server`. Raises StoreAwayError
    without the package that an object store needs.

    `open_access`: answer direct requests from this machine without an API key.
    """
    wakes = Wakes(redis_url)
    database = Database(database_url)
    rendered = RenderedJobs(database)
    doorbell = Ringer(Doorbell(redis_url))
    server = Server(
        settings=settings,
        database=database,
        artifacts=artifacts_of(settings),
        doorbell=doorbell,
        wake=Wake(redis_url),
        wakes=wakes,
        keyring=Keyring(database),
        limiter=Limiter(redis_url),
        figures=Figures(database, settings.artifacts),
        jobs=Together(rendered.look),
        lists=Alike(rendered.page),
        submissions=Together(
            Submissions(database, settings.caches, doorbell).store,
            at_once=AT_ONCE,
            side_by_side=SIDE_BY_SIDE,
        ),
        streamed=batches(database),
        redis_url=redis_url,
        open_access=open_access,
    )

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        listening = asyncio.create_task(wakes.run())
        deliverer = Deliverer(database, parse_networks(settings.webhook_networks))
        deliverer.start()
        yield
        wakes.close()
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening
        await asyncio.to_thread(deliverer.end)
        server.close()

    app = FastAPI(
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.server = server
    errors.install(app)
    for part in PARTS:
        app.include_router(part.router)
    app.openapi = lambda: openapi.describe(app)  # type: ignore[method-assign]
    app.add_middleware(Envelope, answered=server.figures.answered)
    return app


class ApiServer(uvicorn.Server):
    """uvicorn, which otherwise waits for event streams that never end by themselves."""

    def __init__(self, app: FastAPI, *, host: str, port: int) -> None:
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=SHUTDOWN_S,
        )
        super().__init__(config)
        self._wakes: Wakes = app.state.server.wakes

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """End the streams, then everything else."""
        self._wakes.close()
        await super().shutdown(sockets)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the API until SIGTERM or SIGINT; 2 when it may not start."""
    parser = argparse.ArgumentParser(prog="python -m app.main", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8642)
    parser.add_argument(
        "--openapi", action="store_true", help="print the API's description and end"
    )
    given = parser.parse_args(arguments)
    if given.openapi:
        sys.stdout.write(description())
        return 0
    configure()
    settings = Settings()
    try:
        found = addresses(settings)
    except NotRunningError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    is_open = _access(settings, given.host, found.database_url)
    if is_open is None:
        sys.stderr.write(
            f"refusing to listen on {given.host} without an API key: anybody who reaches this "
            "address could run jobs. Make a key with `gogooku3 keys create NAME --scope admin`, "
            "or listen on 127.0.0.1.\n"
        )
        return 2
    try:
        app = create_app(
            settings,
            database_url=found.database_url,
            redis_url=found.redis_url,
            open_access=is_open,
        )
    except StoreAwayError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    # What is there by now stays to the end. A collector that looked through all of it again and
    # again would hold every request up for a tenth of a second.
    gc.collect()
    gc.freeze()
    # uvicorn stops in good order and then raises the signal again: Ctrl-C needs no traceback.
    with contextlib.suppress(KeyboardInterrupt):
        ApiServer(app, host=given.host, port=given.port).run()
    return 0


def description() -> str:
    """The OpenAPI document as text, as docs/openapi.json holds it. Connects to nothing."""
    nowhere = {"database_url": "postgresql+psycopg://", "redis_url": "redis://127.0.0.1:1/0"}
    app = create_app(Settings(), open_access=False, **nowhere)
    return json.dumps(app.openapi(), indent=2, ensure_ascii=False) + "\n"


def _access(settings: Settings, host: str, database_url: str) -> bool | None:
    """What `may_be_open` says, once the database, which may still be starting, answers."""
    while True:
        try:
            return may_be_open(settings, host, database_url)
        except OperationalError as error:
            log.warning("waiting for the database: %s", str(error.orig).strip())
            time.sleep(START_RETRY_S)


def may_be_open(settings: Settings, host: str, database_url: str) -> bool | None:
    """Whether requests without a key are answered; None when the server must not start at all.

    Loopback with the embedded database is open; loopback with a database of one's own is open as
    long as that holds no key when the server starts; any other address needs a key to exist.
    """
    database = Database(database_url, pool_size=1, max_overflow=0)
    try:
        with database.session() as session:
            has_key = keys.any_usable(session)
    finally:
        database.dispose()
    if not is_loopback(host):
        return False if has_key else None
    is_embedded = settings.database_url is None
    return is_embedded or not has_key


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


if __name__ == "__main__":
    sys.exit(main())
