"""Layers and blocks that models are made of. Nothing here knows of a configuration or a batch."""
