"""A file is complete or as it was."""

from pathlib import Path
from typing import BinaryIO

import pytest

from gogooku3.training.durable import write_durably


def test_it_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_durably(path, lambda file: file.write(b"one"))
    write_durably(path, lambda file: file.write(b"two"))
    assert path.read_bytes() == b"two"


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_durably(path, lambda file: file.write(b"one"))

    def fail(file: BinaryIO) -> None:
        file.write(b"tw")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_durably(path, fail)
    assert path.read_bytes() == b"one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
