"""Files: ranges as RFC 9110 has them, pieces of logs, and nothing from outside the folder."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect
from starlette.types import Message

from app.api.files import FileSpan, Span, asked_span
from app.api.logs import piece_of, tail_of
from app.artifacts import Artifacts, MissingFileError, StoredFile


class Slow:
    """A file of three pieces, of which the later ones are read when `may_go` is set."""

    size, version, piece_bytes = 25, "1", 10

    def __init__(self) -> None:
        self.may_go = threading.Event()
        self.read: list[int] = []
        self.is_closed = False
        self.was_closed_while_read = False

    def read_at(self, start: int, count: int) -> bytes:
        """Letters from the place on."""
        assert not start or self.may_go.wait(10)
        self.was_closed_while_read |= self.is_closed
        self.read.append(start)
        return bytes(range(65 + start, 65 + start + count))

    def stream(self) -> IO[bytes]:
        """Not of this one."""
        raise NotImplementedError

    def close(self) -> None:
        """Let it go."""
        self.is_closed = True


async def sent(file: Slow, *, leaves: bool = False) -> bytes:
    """What a client gets of the file, which may leave with its first piece."""
    got = b""

    async def receive() -> Message:
        return await asyncio.Future[Message]()

    async def send(message: Message) -> None:
        nonlocal got
        got += message.get("body", b"")
        if got:
            asyncio.get_running_loop().call_later(0.05, file.may_go.set)
            if leaves:
                raise OSError("the client has left")

    answer = FileSpan(file, Span(0, file.size), 200, {})
    await answer({"type": "http", "asgi": {"spec_version": "2.4"}}, receive, send)
    return got


def test_the_next_piece_is_read_while_one_is_sent() -> None:
    file = Slow()
    assert asyncio.run(sent(file)) == bytes(range(65, 90))
    assert (file.read, file.is_closed) == ([0, 10, 20], True)


def test_a_file_is_closed_when_nothing_reads_it_any_more() -> None:
    file = Slow()
    with pytest.raises(ClientDisconnect):
        asyncio.run(sent(file, leaves=True))
    assert (file.read, file.is_closed, file.was_closed_while_read) == ([0, 10], True, False)


@contextmanager
def opened(path: Path) -> Iterator[StoredFile]:
    """A file for reading."""
    file = Artifacts(path.parent).open(path.name)
    try:
        yield file
    finally:
        file.close()


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-0", Span(0, 1)),
        ("bytes=2-", Span(2, 10)),
        ("bytes=2-999", Span(2, 10)),
        ("bytes=-3", Span(7, 10)),
        ("bytes=-999", Span(0, 10)),
        (None, None),
        ("bytes=-", None),
        ("bytes=5-2", None),
        ("bytes=0-1,4-5", None),
        ("items=0-1", None),
        ("bytes=" + "9" * 400 + "-", None),
    ],
)
def test_range_header(header: str | None, span: Span | None) -> None:
    assert asked_span(header, 10) == span


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-12", "bytes=-0"])
def test_range_outside_the_file(header: str) -> None:
    with pytest.raises(ValueError, match="outside"):
        asked_span(header, 10)


def test_only_plain_files_inside_the_folder_are_opened(tmp_path: Path) -> None:
    folder = tmp_path / "artifacts"
    (folder / "job").mkdir(parents=True)
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (folder / "job" / "fine").write_text("fine")
    (folder / "job" / "link").symlink_to(secret)
    (folder / "job" / "inner").symlink_to(folder / "job" / "fine")
    (folder / "linked").symlink_to(tmp_path)
    os.mkfifo(folder / "job" / "pipe")
    Artifacts(folder).open("job/fine").close()
    refused = [
        "job/link",
        "job/inner",
        "linked/secret",
        "../secret",
        "job/../../secret",
        str(secret),
        "job/pipe",
        "job",
        "",
        "job/missing",
    ]
    for relative in refused:
        with pytest.raises(MissingFileError):
            Artifacts(folder).open(relative)


def test_folder_may_itself_be_reached_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_text("x")
    (tmp_path / "home").symlink_to(tmp_path / "real")
    Artifacts(tmp_path / "home").open("file").close()


@given(text=st.text(max_size=200), limit=st.integers(min_value=4, max_value=50))
def test_pieces_add_up_to_the_log_and_never_cut_a_character(
    tmp_path_factory: pytest.TempPathFactory, text: str, limit: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "log.txt"
    path.write_bytes(text.encode())
    read = b""
    with opened(path) as file:
        while (piece := piece_of(file, len(read), limit)).content:
            piece.content.decode()
            assert len(piece.content) <= limit
            read += piece.content
    assert read == text.encode()


def test_piece_advances_through_bytes_that_are_not_text(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(b"\xf0" * 10)
    with opened(path) as file:
        at = 0
        while (piece := piece_of(file, at, 4)).content:
            at = piece.end
    assert at == 10


def test_piece_after_the_end_is_empty_and_tells_the_size(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("abc")
    with opened(path) as file:
        piece = piece_of(file, 100, 10)
    assert (piece.content, piece.start, piece.end, piece.size) == (b"", 100, 100, 3)


def test_tail_gives_whole_last_lines(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("one\ntwo\nthree\nfour")
    with opened(path) as file:
        assert tail_of(file, 2, 1000).content == b"three\nfour"
        assert tail_of(file, 99, 1000).content == b"one\ntwo\nthree\nfour"
        assert tail_of(file, 99, 12).content == b"three\nfour"
        assert tail_of(file, 2, 1000).end == 18
        assert tail_of(file, 2, 1000).start == 8
        assert tail_of(file, 1, 2).content == b"ur"
