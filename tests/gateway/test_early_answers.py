"""An upstream that answers before it has the whole body: what is left of the body must not meet the next request."""

import asyncio
from pathlib import Path

import pytest

from nagaya.gateway.pool import Pool
from nagaya.gateway.upstream import AnswerHead, UpstreamConnection, UpstreamError

HEAD = b"POST /x HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\n"


class LateBody:
    """A client whose body arrives in the very moment in which the answer ends."""

    def __init__(self, connection: UpstreamConnection, *, body_first: bool) -> None:
        self.connection = connection
        self.body_first = body_first
        self.ended = asyncio.get_running_loop().create_future()

    def send(self) -> None:
        """Sends the body, as the client's connection does."""
        self.connection.write_body(b"rest")
        self.connection.end_body()

    def answer_head(self, head: AnswerHead) -> None:
        assert head.status == 403

    def answer_body(self, data: bytes) -> None:
        assert data == b"no"

    def answer_pause(self) -> None:
        """Nothing is held back here."""

    def answer_end(self) -> None:
        if not self.body_first:
            self.send()
        self.ended.set_result(None)

    def answer_failed(self, error: UpstreamError) -> None:
        self.ended.set_exception(error)

    def hold_body(self) -> None:
        """Four bytes are never too many."""

    def proceed_body(self) -> None:
        """As above."""


@pytest.mark.parametrize("body_first", [True, False])
def test_a_connection_with_an_unsent_body_is_not_used_again(tmp_path: Path, *, body_first: bool) -> None:
    ended = asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        await reader.read(4)
        await reader.read()
        writer.close()
        ended.set()

    async def main() -> bool:
        path = str(tmp_path / "s")
        async with await asyncio.start_unix_server(refuse, path):
            pool = Pool(path, 4, 60.0)
            connection = await pool.connect(5.0)
            sink = LateBody(connection, body_first=body_first)
            connection.start(sink, HEAD, is_head=False, chunked=False)
            if body_first:
                sink.send()
            await asyncio.wait_for(sink.ended, 5)
            pool.give_back(connection)
            kept = pool.idle == 1
            pool.close()
            await asyncio.wait_for(ended.wait(), 5)
            return kept

    assert asyncio.run(main()) is body_first
