"""Reading server-sent events."""

from __future__ import annotations

from gogooku3.client.sse import Message, messages


def test_messages_with_pings_and_several_data_lines() -> None:
    text = "retry: 2000\n\nid: 1\nevent: state\ndata: {\ndata: }\n\n: ping\n\ndata:x\n\nid: 3\n"
    assert list(messages(text.split("\n"))) == [
        Message("state", "{\n}", "1"),
        Message("message", "x", "1"),
    ]


def test_message_without_its_blank_line_is_dropped() -> None:
    assert list(messages(["id: 1", "event: epoch", "data: {}"])) == []
