"""From any table a quant has to a dense, checked market."""

from gogooku3.data.source.bars import Bars, ReadyColumn
from gogooku3.data.source.reading import examine, read_bars
from gogooku3.data.source.table import Tabular

__all__ = ["Bars", "ReadyColumn", "Tabular", "examine", "read_bars"]
