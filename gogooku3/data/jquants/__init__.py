"""Daily bars of the Japanese market from J-Quants, through its official client package."""

from gogooku3.data.jquants.download import BARS, fetch

__all__ = ["BARS", "fetch"]
