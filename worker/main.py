"""The worker process: `python -m worker.main --slots N`."""

from __future__ import annotations

import argparse
import logging
import signal
import socket
import sys
import threading
import time
import warnings

from celery import Celery, signals
from celery.exceptions import SecurityWarning

from app.artifacts import StoreAwayError, artifacts_of
from app.broker.celery import CLAIM_TASK, make_celery
from app.broker.doorbell import Doorbell
from app.broker.wake import Wake
from app.db import Database
from app.embedded.home import NotRunningError, addresses
from app.json_log import configure
from app.settings import Settings
from worker.child import TRAINER
from worker.devices import find_gpus, make_slots
from worker.host import Host
from worker.maintenance import Maintenance
from worker.outage import first_line, is_outage
from worker.place import Workplace
from worker.slots import Slots
from worker.spares import Spares

START_RETRY_S = 1.0
logger = logging.getLogger("worker")


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; jobs then go back to the queue with their checkpoints."""
    parser = argparse.ArgumentParser(prog="worker.main", description=__doc__)
    parser.add_argument(
        "--slots",
        type=int,
        help="jobs that run at once; 0 = a control worker, which only takes back lost jobs; "
        "default: one for each GPU, one without any",
    )
    parser.add_argument(
        "--gpus",
        help="the GPUs of the first slots, as CUDA_VISIBLE_DEVICES names them; "
        "default: those that are found",
    )
    parser.add_argument(
        "--no-spares",
        action="store_true",
        help="keep no trainer ready with torch loaded: less memory, seconds more for each job",
    )
    given = parser.parse_args(arguments)
    if given.slots is not None and given.slots < 0:
        parser.error("--slots must not be negative")
    configure()
    settings = Settings()
    try:
        where = addresses(settings)
    except NotRunningError as error:
        logger.error("%s", error)
        return 1
    if given.gpus is None:
        gpus = [] if given.slots == 0 else find_gpus()
    else:
        gpus = [name.strip() for name in given.gpus.split(",") if name.strip()]
    try:
        artifacts = artifacts_of(settings)
    except StoreAwayError as error:
        logger.error("%s", error)
        return 1
    slots = Slots(make_slots(given.slots, gpus))
    place = Workplace(
        database=Database(where.database_url),
        wake=Wake(where.redis_url),
        caches=settings.caches,
        data=settings.data,
        artifacts=artifacts,
        lease_s=settings.lease_s,
        stopping=threading.Event(),
        doorbell=Doorbell(where.redis_url),
        spares=None if given.no_spares else Spares(TRAINER, slots.all, settings.logs / "spares"),
    )
    # Until Celery's own handlers stand, a signal must end the process in order, too.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    host = _start(place, slots)
    logger.info("worker %s: %s slots, %s GPUs", host.worker_id, slots.count, len(slots.gpus))
    maintenance = Maintenance(host)
    maintenance.start()
    try:
        if host.slots.count:
            exit_code = _listen(make_celery(where.redis_url), host)
        else:
            # Doorbells are for workers that can train: this one must not take them away.
            place.stopping.wait()
            exit_code = 0
    finally:
        place.stopping.set()
        maintenance.end()
        host.leave()
        if place.spares is not None:
            place.spares.close()
        place.wake.close()
        if place.doorbell is not None:
            place.doorbell.close()
        place.sweeps.close()
        place.database.dispose()
    return exit_code


def _start(place: Workplace, slots: Slots) -> Host:
    """Registered with the database, which may still be starting."""
    while True:
        try:
            return Host(place, slots)
        except Exception as error:
            if not is_outage(error):
                raise
            logger.warning("waiting for the database: %s", first_line(error))
            time.sleep(START_RETRY_S)


def _listen(celery: Celery, host: Host) -> int:
    """Serve doorbells until a signal ends the process; Celery's own signal handlers do that."""

    def stop(**_: object) -> None:
        host.place.stopping.set()

    def keep_our_logging(**_: object) -> None:
        """Celery configures logging unless somebody else says that they did."""

    celery.task(host.work, name=CLAIM_TASK)
    # Celery advises against root because a message might be code; ours are JSON without content.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    signals.worker_shutting_down.connect(stop, weak=False)
    signals.setup_logging.connect(keep_our_logging, weak=False)
    worker = celery.Worker(
        pool="threads",
        concurrency=host.slots.count,
        hostname=f"{host.worker_id}@{socket.gethostname()}",
        quiet=True,
        without_heartbeat=True,
        without_mingle=True,
        without_gossip=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


if __name__ == "__main__":
    sys.exit(main())
