"""Use-cases: what can be done with jobs. Each takes a session, and none commits."""
