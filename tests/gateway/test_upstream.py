"""A connection to an upstream after answers that came before their request was complete."""

from __future__ import annotations

import asyncio
import socket

import pytest

from nagaya.gateway.forward import AnswerHead
from nagaya.gateway.upstream import UpstreamConnection, UpstreamError


class Receiver:
    """Remembers that the answer ended."""

    ended = False

    def answer_head(self, head: AnswerHead) -> None:
        assert head.status == 400

    def answer_body(self, data: bytes) -> None:
        assert data == b"{}"

    def answer_pause(self) -> None:
        pass

    def answer_end(self) -> None:
        self.ended = True

    def answer_failed(self, error: UpstreamError) -> None:
        raise error

    def hold_body(self) -> None:
        pass

    def proceed_body(self) -> None:
        pass


@pytest.mark.parametrize("chunked", [True, False])
def test_a_connection_whose_body_was_cut_by_an_early_answer_is_not_used_again(chunked: bool) -> None:
    """Its upstream still waits for the body, and would take the next request for it."""

    async def test() -> None:
        near, far = socket.socketpair()
        _, connection = await asyncio.get_running_loop().create_connection(UpstreamConnection, sock=near)
        receiver = Receiver()
        try:
            connection.start(receiver, b"POST / HTTP/1.1\r\n\r\n", is_head=False, chunked=chunked)
            connection.data_received(b"HTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\n{}")
            assert receiver.ended
            # The client's body arrives before whoever waits for the answer has been woken.
            connection.write_body(b"x" * 37)
            connection.end_body()
            assert not connection.reusable
        finally:
            connection.abort()
            far.close()
            await asyncio.sleep(0)

    asyncio.run(test())
