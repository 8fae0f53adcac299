"""A worker process with the formula's trainer: `plain_worker.py HOME DB REDIS SLOTS OPTIONS`.

Everything of a worker but Celery: the poll finds what is to be done.
"""

from __future__ import annotations

import logging
import sys
import threading
from pathlib import Path

from app.artifacts import Artifacts
from app.broker.wake import Wake
from app.db import Database
from worker.devices import make_slots
from worker.host import Host
from worker.maintenance import Maintenance
from worker.place import Workplace
from worker.slots import Slots

TRAINER = Path(__file__).with_name("objective_trainer.py")


def main() -> None:
    home, database_url, redis_url, slots, options = sys.argv[1:]
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    place = Workplace(
        database=Database(database_url, pool_size=5),
        wake=Wake(redis_url),
        caches=Path(home) / "caches",
        data=Path(home) / "data",
        artifacts=Artifacts(Path(home) / "artifacts"),
        lease_s=3.0,
        stopping=threading.Event(),
        trainer=(sys.executable, "-S", "-E", str(TRAINER), options)
        if "series" not in options
        else (sys.executable, str(TRAINER), options),
    )
    host = Host(place, Slots(make_slots(int(slots), [])))
    Maintenance(host, poll_s=0.3).start()
    place.stopping.wait()  # until it is killed


if __name__ == "__main__":
    main()
