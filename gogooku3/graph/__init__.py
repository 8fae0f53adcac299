"""The day's graph of stocks, from returns up to that day only."""

from gogooku3.graph.build import GraphBuilder
from gogooku3.graph.edges import EDGE_FEATURES

__all__ = ["EDGE_FEATURES", "GraphBuilder"]
