"""Training: config and dataset in, events and checkpoints out. Nothing here knows a server.

Import from the modules: `trainer.train`, `checkpoint.load_model`, `scoring.ScoringModel`. This file
stays empty so that the trainer process can watch its lease before torch is loaded.
"""
