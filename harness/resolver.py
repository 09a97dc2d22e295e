"""An HTTP proxy that tunnels to this machine whatever name it is asked for: host names without DNS."""

import asyncio
import contextlib
import threading
from typing import Self


class LoopbackTunnel:
    """Answers `CONNECT name:port` with a connection to 127.0.0.1:port, for names below one domain. Runs in a thread.

    Args:
        domain: The only domain whose names are known.
    """

    def __init__(self, domain: str) -> None:
        self.domain = domain
        self.port = 0
        self.asked: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._stop = asyncio.Event()

    @property
    def url(self) -> str:
        """Address for `HTTPS_PROXY`."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._tunnel, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
            method, target, _ = head.splitlines()[0].split(" ")
            name, _, port = target.rpartition(":")
            known = name == self.domain or name.endswith(f".{self.domain}")
            if method != "CONNECT" or not known:
                writer.write(b"HTTP/1.1 502 Unknown name\r\nContent-Length: 0\r\n\r\n")
                return
            self.asked.append(name)
            upstream, upwriter = await asyncio.open_connection("127.0.0.1", int(port))
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            await asyncio.gather(_copy(reader, upwriter), _copy(upstream, writer))
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # The streams of asyncio report a cancelled handler as an error of the loop; here it is the end of a test.
            pass
        finally:
            writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
