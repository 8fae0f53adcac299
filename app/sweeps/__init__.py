"""Use-cases of sweeps: create, advance, prune, steer, read. Trials are ordinary jobs."""
