"""A trainer that waits with everything loaded until it is told what to do.

Loading torch takes seconds, most of what a short job takes; a worker keeps such a process ready
for each slot. Nothing of a job is known yet: its folder and its log come with the request.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def load() -> None:
    """Load what a run needs."""
    # Read once, when torch is loaded; see `run`.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import gogooku3.training.failure
    import gogooku3.training.trainer  # noqa: F401


def move_in(folder: Path, log: Path) -> None:
    """Make the folder the working folder, and let the log have what is printed from now on."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    sys.stdout.flush()
    sys.stderr.flush()
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
