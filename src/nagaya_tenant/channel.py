"""The tenant's end of the channel: policy comes down, events go up, shares are asked for.

Two tasks: one waits on the stream, one waits for events to send. Both sleep in the kernel while nothing happens. Lost
connections come back with exponential back-off and jitter, so that a restarted control plane is not stormed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
from typing import TYPE_CHECKING, Any

from zenml.exceptions import IllegalOperationError

from nagaya_tenant.channel_http import ChannelError, Connection

if TYPE_CHECKING:
    from nagaya_tenant.outbox import Outbox
    from nagaya_tenant.policy_state import PolicyState
    from nagaya_tenant.settings import TenantSettings

START_SECONDS = 0.25
SILENCE_SECONDS = 50.0  # Pings come every 15 s; three may be lost.
REQUEST_SECONDS = 10.0
GATHER_SECONDS = 0.2
FIRST_BACK_OFF = 0.2
LONGEST_BACK_OFF = 15.0
_SIGN_OF_LIFE = "last_sign_of_life"
_SIGN_OF_LIFE_SECONDS = 60.0

log = logging.getLogger(__name__)


class Channel:
    """The channel of one tenant process; it lives in the event loop that `start` was called in.

    Args:
        settings: Where the socket is, and the token for it.
        policy: What the stream changes.
        outbox: What is sent up.
    """

    def __init__(self, settings: TenantSettings, policy: PolicyState, outbox: Outbox) -> None:
        self._path = settings.channel_socket
        self._headers = (
            ("authorization", f"Bearer {settings.channel_token}"),
            ("nagaya-tenant", str(settings.tenant_id)),
        )
        self._policy = policy
        self._outbox = outbox
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._noted = 0.0
        self._asking: Connection | None = None
        self.connected = False

    async def ask(self) -> None:
        """Sends the first question for the policy; `start` reads the answer, which comes while ZenML starts."""
        self._asking = Connection(self._path, self._headers)
        with contextlib.suppress(ChannelError, TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                await self._asking.send("GET", self._policy_target())

    async def start(self) -> None:
        """Asks for the policy once, for at most 250 ms, and starts the tasks."""
        self._loop = asyncio.get_running_loop()
        if (remembered := self._outbox.recall(_SIGN_OF_LIFE)) is not None:
            self._policy.alive(float(remembered))
        # The first sign of life of a start is noted a minute later, or at the stop: it is not worth a wait here.
        self._noted = self._policy.now()
        try:
            async with asyncio.timeout(START_SECONDS):
                await self.refresh()
        except (ChannelError, TimeoutError, ValueError) as error:
            log.warning("The control plane gave no policy at the start, the stored one serves: %s", error)
        self._outbox.on_append(self._events_waiting)
        if len(self._outbox):
            self._wake.set()
        self._tasks = [
            asyncio.create_task(self._forever(self._listen), name="nagaya-channel-stream"),
            asyncio.create_task(self._forever(self._upload), name="nagaya-channel-events"),
        ]

    async def stop(self) -> None:
        """Ends the tasks; what is still in the outbox is sent after the next start."""
        self._outbox.on_append(None)
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks = []
        self._note()

    def share(self, share: dict[str, Any]) -> None:
        """Asks the control plane to store a share; for worker threads, blocks until it has answered.

        Args:
            share: The body of `POST /channel/v1/shares`.

        Raises:
            IllegalOperationError: Refused, with the control plane's reason.
            KeyError: No such user, team or resource.
            ValueError: The request cannot be used.
            RuntimeError: No answer in time; nothing is known to have changed.
        """
        if self._loop is None:
            raise RuntimeError("The channel to the control plane has not been started.")
        future = asyncio.run_coroutine_threadsafe(self._single("POST", "/channel/v1/shares", share), self._loop)
        try:
            status, answer = future.result(timeout=REQUEST_SECONDS + 1)
        except (ChannelError, TimeoutError) as error:
            future.cancel()
            raise RuntimeError(
                "Sharing needs the control plane, which does not answer at the moment; try again later."
            ) from error
        if status == 200:
            return
        detail = answer.get("detail") if isinstance(answer, dict) else None
        sentence = detail if isinstance(detail, str) else f"The control plane refused the share with status {status}."
        errors: dict[int, type[Exception]] = {403: IllegalOperationError, 404: KeyError, 422: ValueError}
        raise errors.get(status, RuntimeError)(sentence)

    async def _single(self, method: str, target: str, value: Any) -> tuple[int, Any]:
        return await self._exchange(Connection(self._path, self._headers), method, target, value)

    async def _exchange(self, connection: Connection, method: str, target: str, value: Any) -> tuple[int, Any]:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                answer = await connection.request(method, target, value)
        finally:
            await connection.close()
        return answer.status, answer.json() if answer.body else None

    def _policy_target(self) -> str:
        return f"/channel/v1/policy?after={self._policy.version}"

    async def refresh(self) -> None:
        """Asks whether there is a newer policy, and puts it in force.

        Raises:
            ChannelError: The control plane did not answer.
            TimeoutError: Not in time.
            ValueError: It answered with something that is no policy of this tenant.
        """
        connection, self._asking = self._asking or Connection(self._path, self._headers), None
        status, document = await self._exchange(connection, "GET", self._policy_target(), None)
        if status == 200:
            self._policy.apply_snapshot(document)
        elif status != 204:
            raise ChannelError(f"The control plane answered {status} to the request for the policy.")
        self._alive()

    def _alive(self) -> None:
        self._policy.alive()
        if self._policy.last_sign_of_life - self._noted > _SIGN_OF_LIFE_SECONDS:
            self._note()

    def _note(self) -> None:
        """Writes the last sign of life down, without waiting; a failure is in the log and costs only strictness."""
        self._noted = self._policy.last_sign_of_life
        if (value := str(self._noted)) != self._outbox.recall(_SIGN_OF_LIFE):
            self._outbox.remember(_SIGN_OF_LIFE, value)

    async def _forever(self, work: Any) -> None:
        back_off = FIRST_BACK_OFF
        while True:
            started = asyncio.get_running_loop().time()
            try:
                await work()
            except (ChannelError, TimeoutError, ValueError) as error:
                log.warning("The channel to the control plane is interrupted: %s", error)
            except Exception:
                log.exception("The channel to the control plane failed; it is opened again.")
            if asyncio.get_running_loop().time() - started > LONGEST_BACK_OFF:
                back_off = FIRST_BACK_OFF
            await asyncio.sleep(back_off * random.uniform(0.5, 1.5))  # noqa: S311  # jitter is no secret
            back_off = min(back_off * 2, LONGEST_BACK_OFF)

    async def _listen(self) -> None:
        connection = Connection(self._path, self._headers)
        try:
            async for line in connection.lines(f"/channel/v1/stream?after={self._policy.version}", SILENCE_SECONDS):
                self.connected = True
                await self._take(line)
        finally:
            self.connected = False
            await connection.close()

    async def _take(self, line: bytes) -> None:
        message = json.loads(line)
        if not isinstance(message, dict):
            raise ChannelError("The control plane sent a message that is not an object.")
        kind = message.get("type")
        if kind == "policy":
            self._policy.apply_snapshot(message.get("policy") or {})
        elif kind == "delta":
            try:
                self._policy.apply_delta(message)
            except ValueError as error:
                log.warning("A change of the policy could not be applied, the whole one is asked for: %s", error)
                await self.refresh()
        self._alive()

    def _events_waiting(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)

    async def _upload(self) -> None:
        connection = Connection(self._path, self._headers)
        try:
            while True:
                if not len(self._outbox):
                    # An idle connection is closed: the control plane should not hold one per sleeping queue.
                    await connection.close()
                    connection = Connection(self._path, self._headers)
                    await self._wake.wait()
                    await asyncio.sleep(GATHER_SECONDS)
                self._wake.clear()
                await self._send_batch(connection)
        finally:
            await connection.close()

    async def _send_batch(self, connection: Connection) -> None:
        events = await asyncio.to_thread(self._outbox.batch)
        if not events:
            return
        async with asyncio.timeout(REQUEST_SECONDS):
            answer = await connection.request("POST", "/channel/v1/events", {"events": events})
        if answer.status != 200:
            raise ChannelError(f"The control plane answered {answer.status} to events.")
        value = answer.json()
        acknowledged = value.get("acknowledged") if isinstance(value, dict) else None
        first, last = events[0]["seq"], events[-1]["seq"]
        if not isinstance(acknowledged, int) or acknowledged < first:
            raise ChannelError("The control plane acknowledged none of the events that it was sent.")
        # Never forget what was not sent, whatever the answer says.
        await asyncio.to_thread(self._outbox.acknowledge, min(acknowledged, last))
        self._alive()
