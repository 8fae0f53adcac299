"""The day's graph of stocks, from returns up to that day only."""

from gogooku3.graph.builder import GraphBuilder
from gogooku3.graph.edges import EDGE_FEATURES, edge_feature_names

__all__ = ["EDGE_FEATURES", "GraphBuilder", "edge_feature_names"]
