"""Making the next item while the present one is used."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
_END = object()


def one_ahead(items: Iterator[Item]) -> Generator[Item]:
    """The same items in the same order, made in a thread, each but the first while the one before
    it is used. What making one raises is raised where it would have been given. Closing the
    iterator waits for the item that is being made.

    Nothing is asked of `items` before the first item is wanted, and an item at most beyond that.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as maker:
        coming = maker.submit(next, items, _END)
        while (item := coming.result()) is not _END:
            coming = maker.submit(next, items, _END)
            yield item  # type: ignore[misc]
