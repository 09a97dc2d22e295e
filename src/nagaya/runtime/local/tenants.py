"""One tenant's state machine: wake, sleep, crash, stop, removal; at most one process at any moment."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from nagaya.runtime.files import StateFileError
from nagaya.runtime.interface import RuntimeFailure, TenantSpec, TenantState
from nagaya.runtime.local import logs, measure
from nagaya.runtime.local.backoff import Backoff
from nagaya.runtime.local.doorbell import Doorbell
from nagaya.runtime.local.environment import readdressed
from nagaya.runtime.local.host import Host
from nagaya.runtime.local.processes import ProcessIdentity, Watched, boot_id, describe_exit, end_user
from nagaya.runtime.local.spawn import Child, SpawnError
from nagaya.runtime.local.store import TenantRecord

logger = logging.getLogger(__name__)

REASON_LINES = 5
LIVING = frozenset({"starting", "awake", "stopping", "asleep"})
"""States of a tenant that runs, or runs as soon as somebody needs it."""


class Tenant:
    """A tenant as the keeper sees it. Every change of state is recorded before anybody hears of it."""

    def __init__(self, record: TenantRecord, host: Host) -> None:
        self.record, self.host, self.id = record, host, record.id
        self.spec: TenantSpec | None = None
        self.state = "stopped"
        self.reason: str | None = None
        self.restarts = 0
        self.process: Watched | None = None
        self.door = Doorbell(self.id, host, self.wake_soon)
        self.timings: dict[str, float] = {}
        self.info: dict[str, Any] | None = None
        self.policy_version: int | None = None
        self.in_flight = 0
        self.last_activity = time.time()
        """From when its idleness counts; for one that an earlier keeper started, from this keeper's beginning."""
        self.last_used: float | None = None
        """When it was used last, if this keeper has seen it."""
        self._failed_at = 0.0
        self._saved: dict[str, Any] = {}
        self._started_spec: TenantSpec | None = None
        self._lock = asyncio.Lock()
        self._waking: asyncio.Task[dict[str, Any]] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._unblocked = asyncio.Event()
        config = host.config
        self._backoff = Backoff(
            base=config.backoff_seconds,
            limit=config.backoff_limit,
            failures=config.failure_limit,
            window=config.failure_window,
            now=host.clock,
        )

    # What it is -----------------------------------------------------------------------------------------------

    def describe(self) -> TenantState:
        """Return the state as the protocol shows it."""
        spec = self.spec
        listening = self.state in ("asleep", "starting", "awake", "stopping") and self.door.generation > 0
        return TenantState(
            id=self.id,
            organization=spec.organization if spec else "",
            tenant=spec.tenant if spec else "",
            engine=spec.engine if spec else "",
            generation=spec.generation if spec else -1,
            state=self.state,
            socket=str(self.host.socket_path(self.id, self.door.generation)) if listening else None,
            pid=self.process.pid if self.process else None,
            reason=self.reason,
            restarts=self.restarts,
            last_activity=self.last_used,
            policy_version=self.policy_version,
            timings=self.timings,
            public_url=spec.public_url if spec else None,
            server_url=spec.server_url if spec else None,
        )

    def route(self) -> dict[str, Any]:
        """Return the event that tells subscribers about this tenant."""
        limits = self.spec.limits() if self.spec else {}
        return {"event": "route", **self.describe().to_json(), **limits, "info": self.info}

    def used(self, when: float) -> None:
        """Note that somebody used it, at a Unix time in seconds."""
        self.last_activity = max(self.last_activity, when)
        self.last_used = max(self.last_used or 0.0, when)

    @property
    def desired(self) -> str:
        """What the api wants: `running`, `stopped` or `deleted`."""
        return self.spec.desired if self.spec else "stopped"

    def _learn(self, info: dict[str, Any]) -> None:
        if info != self.info:
            self.info = info
            self.record.write_info(info)

    def _set(self, state: str, reason: str | None = None) -> None:
        self.state, self.reason = state, reason
        self._save()
        self.host.publish(self.route())

    def _save(self) -> None:
        state = {
            "state": self.state,
            "reason": self.reason,
            "process": self.process.identity.to_json() if self.process else None,
            "socket_generation": self.door.generation,
            "restarts": self.restarts,
            "timings": self.timings,
        }
        if state == self._saved:
            return  # A new keeper finds most of its tenants asleep and leaves them so.
        # Processes end with a loss of power, so their record need not outlast it; a refusal to start should.
        self.record.write_state(state, durable=self.state not in LIVING)
        self._saved = state

    # The socket -----------------------------------------------------------------------------------------------

    def _rest(self, reason: str | None = None, *, again: bool = False) -> None:
        """Settle without a process in the state that fits what is wanted; `again` as in `Doorbell.bind`."""
        if self.desired == "running":
            self.door.bind(again=again)
            self._set("asleep", reason)
            self.door.watch()
        else:
            self.door.unbind()
            self._set("deleted" if self.desired == "deleted" else "stopped", reason)

    # Waking ---------------------------------------------------------------------------------------------------

    def _refuse(self) -> None:
        """Raise RuntimeFailure when this tenant may not be started now."""
        if self.spec is None:
            raise RuntimeFailure("unknown", "There is no such tenant.")
        if self.desired == "deleted":
            raise RuntimeFailure("deleted", "This tenant was deleted.")
        if self.desired == "stopped":
            raise RuntimeFailure("deactivated", "This tenant is deactivated.")
        if self.state == "failed" and self.host.clock() - self._failed_at < self.host.config.failed_retry:
            raise RuntimeFailure("failed", f"This tenant does not start: {self.reason}")

    async def wake(self) -> dict[str, Any]:
        """Return `{"socket", "pid", "timings"}` once the tenant answers; many callers cause one start.

        Raises RuntimeFailure with a code of the protocol.
        """
        self._refuse()
        if self.state == "awake" and self.process is not None:
            return self._address()
        if self._waking is None or self._waking.done():
            self._waking = asyncio.create_task(self._wake(), name=f"wake-{self.id}")
        waking = self._waking
        try:
            return await asyncio.shield(waking)
        except asyncio.CancelledError:
            if not waking.cancelled():
                raise
            self._refuse()
            raise RuntimeFailure("failed", "The start was interrupted; try again.") from None

    def wake_soon(self) -> None:
        """Wake without waiting for it."""
        task = asyncio.create_task(self.wake_quietly())
        _background.add(task)
        task.add_done_callback(_background.discard)

    async def wake_quietly(self) -> None:
        """Wake; a failure is in the tenant's state and in the log."""
        try:
            await self.wake()
        except RuntimeFailure as error:
            logger.info("tenant %s was not woken: %s", self.id, error)
            if self.state == "asleep" and error.code == "busy":
                self.door.watch()

    def _address(self) -> dict[str, Any]:
        path = self.host.socket_path(self.id, self.door.generation)
        return {"socket": str(path), "pid": self.process.pid if self.process else 0, "timings": self.timings}

    async def _wake(self) -> dict[str, Any]:
        began = self.host.clock()
        while (delay := self._backoff.delay) > 0:
            self._unblocked.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._unblocked.wait(), delay)
        async with self.host.limiter.slot(), self._lock:
            self._refuse()
            if self.state == "awake" and self.process is not None:
                return self._address()
            await self._start(began)
            return self._address()

    async def _start(self, began: float) -> None:
        assert self.spec is not None
        spec = self.spec
        try:
            listener = self.door.bind()
            self.door.ignore()
            self._set("starting")  # On disk before the fork: whoever finds it looks for a process without record.
            prepared = self.host.clock()
            message = self.host.prepare(spec, self.policy_version)
            phases = {"queue": prepared - began, "prepare": self.host.clock() - prepared}
            child = await self.host.spawner.spawn(spec.engine, message, listener, self.record.policy_path)
            self.process = child.process
            self._save()
            await self._become_ready(child, began, phases)
            self._started_spec = spec
            measure.started(self.host.metrics, child.how, self.timings)
        except BaseException as error:
            await self._start_failed(error)
            raise

    async def _become_ready(self, child: Child, began: float, phases: dict[str, float]) -> None:
        waiting = self.host.clock()
        try:
            answer = await child.answer(self.host.config.ready_timeout)
        except TimeoutError:
            limit = self.host.config.ready_timeout
            raise RuntimeFailure("timeout", f"The tenant did not answer within {limit:g} s.") from None
        if answer is None:
            await child.process.exited.wait()
            raise SpawnError(await self._ending(child.process))
        if answer.get("ready") is not True:
            raise SpawnError(str(answer.get("reason", "it gave no reason")))
        now = self.host.clock()
        phases |= {"ready": now - waiting, "total": now - began}
        inner = {f"child.{name}": value for name, value in answer.get("timings", {}).items()}
        self.timings = {name: round(value * 1000, 2) for name, value in phases.items()} | child.timings | inner
        if isinstance(answer.get("info"), dict):
            self._learn(answer["info"])
        self.in_flight = 0
        self.used(time.time())
        self._watch_process(child.process)
        self._set("awake")
        logger.info("tenant %s awake, pid %d, %s", self.id, child.process.pid, self.timings)

    async def _start_failed(self, error: BaseException) -> None:
        """Leave no process and settle; the caller raises the error again as one of the protocol's."""
        measure.start_failed(self.host.metrics, error)
        if self.process is not None:
            await self.process.stop(0.0)
            self.process = None
        if isinstance(error, asyncio.CancelledError):
            self._rest()
            return
        assert self.spec is not None
        if (problem := await self.host.pool.engines.diagnose(self.spec.engine)) is not None:
            # Trying again would not help; the keeper does when the engine is there.
            self.fail(problem)
            raise RuntimeFailure("failed", problem) from error
        self._failure(f"{error}")
        if not isinstance(error, RuntimeFailure):
            logger.warning("tenant %s did not start: %s", self.id, error)
            raise RuntimeFailure("failed", f"The tenant did not start: {error}") from error

    def _failure(self, reason: str) -> None:
        """Count a failure and settle as asleep (to be tried again) or failed."""
        if self._backoff.failed():
            self.fail(f"{reason} ({self._backoff.count} failures; `restart` tries again)")
            return
        self._rest(reason)
        if self.spec is not None and self.desired == "running" and not self.spec.hibernate:
            self.wake_soon()

    def fail(self, reason: str) -> None:
        """Settle as failed: nothing is tried until somebody asks again, or the cause is gone."""
        self._failed_at = self.host.clock()
        self.door.unbind()
        self._set("failed", reason)

    async def _ending(self, process: Watched) -> str:
        ending = describe_exit(await self.host.pool.exit_code(process.pid))
        lines = [line for line in self.read_log(50) if line.strip()][-REASON_LINES:]
        return f"its process {ending}" + (": " + " | ".join(lines) if lines else "")

    # Living and dying -----------------------------------------------------------------------------------------

    def _watch_process(self, process: Watched) -> None:
        self._watcher = asyncio.create_task(self._await_exit(process), name=f"watch-{self.id}")

    async def _await_exit(self, process: Watched) -> None:
        await process.exited.wait()
        async with self._lock:
            if self.process is not process:
                return
            self.process = None
            self.restarts += 1
            self.host.metrics.counter("nagaya_tenant_crashes_total").inc()
            reason = await self._ending(process)
            logger.error("tenant %s: %s", self.id, reason)
            self._failure(reason)
        if self.state == "asleep":
            self.wake_soon()

    async def _stop_process(self) -> None:
        """Stop the process in order; the lock is held."""
        if self.process is None:
            return
        process = self.process
        self._set("stopping")
        in_time = await process.stop(self.host.config.stop_timeout)
        if not in_time:
            logger.warning("tenant %s had to be killed after %g s", self.id, self.host.config.stop_timeout)
        self.process = None
        self.in_flight = 0

    async def stop(self) -> None:
        """Interrupt a start, stop the process and settle in the wanted state."""
        if self._waking is not None and not self._waking.done():
            self._waking.cancel()
            await asyncio.wait([self._waking])
        async with self._lock:
            await self._stop_process()
            await self._end_leftovers()
            if self.state != "failed" or self.desired != "running":
                self._rest()

    async def _end_leftovers(self) -> None:
        """End what a tenant's process started and left behind, when the tenant is not to run any more."""
        uid = self.host.uids.assigned(self.id)
        if uid is not None and self.desired != "running":
            await asyncio.to_thread(end_user, uid)

    async def sleep_if_idle(self, idle_for: float) -> bool:
        """Stop the process unless it was used within the last `idle_for` seconds; True when it sleeps."""
        async with self._lock:
            if self.state != "awake" or self.in_flight or time.time() - self.last_activity < idle_for:
                return False
            await self._stop_process()
            self._rest()
            return True

    async def restart(self) -> None:
        """Stop and start, and forget failures."""
        self.reset()
        await self.stop()
        self._refuse()
        await self.wake()

    def reset(self) -> None:
        """Forget failures; a start that waits for its turn goes on at once."""
        self._backoff.reset()
        self._unblocked.set()
        if self.state == "failed":
            self._rest()

    # What the api wants ---------------------------------------------------------------------------------------

    async def apply(self, spec: TenantSpec) -> None:
        """Store a spec and act on it; an older generation is ignored."""
        if self.spec is not None and spec.generation < self.spec.generation:
            return
        changed = self.spec != spec
        if changed:
            self.record.create()
            self.record.write_spec(spec)
            if self.info is not None and self.spec is not None:
                # A sleeping tenant is asked for its addresses before it ever wakes with the new ones.
                self._learn(readdressed(self.info, self.spec, spec))
            self.spec = spec
        self.reset()
        await self.host.pool.ensure(spec.engine)
        await self._reconcile()

    async def _reconcile(self) -> None:
        """Drive towards the stored spec; called again it does nothing more."""
        assert self.spec is not None
        if self.desired != "running":
            if self.process is not None or self.state not in ("stopped", "deleted"):
                await self.stop()
            elif self.state != self.desired:
                self._rest()
            return
        started = self._started_spec if self.process is not None else None
        if started is not None and started.needs_new_process(self.spec):
            await self.stop()
            self.wake_soon()
        elif self.process is None and self.state in ("stopped", "deleted"):
            self._rest()
        else:  # The gateway answers for a sleeping tenant, and must know its new addresses too.
            self.host.publish(self.route())
        if not self.spec.hibernate and self.state == "asleep" and self.policy_version is not None:
            self.wake_soon()

    async def set_policy(self, policy: dict[str, Any]) -> None:
        """Store a policy document; an older version is ignored. Raises ValueError when it has no version."""
        version = policy.get("version")
        if not isinstance(version, int):
            raise ValueError("the policy document has no version number")  # noqa: TRY004 - bad input, not a bug.
        if self.policy_version is not None and version < self.policy_version:
            return
        self.record.create()
        self.record.write_policy(policy)
        first = self.policy_version is None
        self.policy_version = version
        if first and self.spec is not None:
            await self._reconcile()

    async def purge(self) -> None:
        """Remove everything of this tenant; may be repeated after a crash."""
        self.record.mark_purge()
        if self.spec is not None:
            self.spec = TenantSpec.from_json(self.spec.to_json() | {"desired": "deleted"})
        await self.stop()
        if self._watcher is not None:
            self._watcher.cancel()
        directory = self.host.tenant_dir(self.id)
        if directory.exists():
            await asyncio.to_thread(shutil.rmtree, directory)
        self.host.uids.release(self.id)
        self.record.remove()
        self.host.publish({"event": "gone", "id": self.id})

    def read_log(self, lines: int) -> list[str]:
        """Return the last lines of the tenant's log."""
        return logs.tail(self._log_path(), lines, below=self.host.config.data_dir / "tenants")

    def rotate_log(self) -> None:
        """Rotate the tenant's log when it has grown too long."""
        config = self.host.config
        logs.rotate(self._log_path(), config.log_bytes, config.log_files, below=config.data_dir / "tenants")

    def _log_path(self) -> Path:
        return self.host.tenant_dir(self.id) / "log" / "tenant.log"

    # After a keeper's restart ---------------------------------------------------------------------------------

    def load(self) -> Watched | None:
        """Read the record of an earlier keeper and return the process that can be adopted, if any.

        A tenant whose record is damaged is kept and shown as failed: its data is untouched, the api sends a new spec.
        """
        self.policy_version = self.record.policy_version()
        self.info = self.record.read_info()
        stored = self._saved = self.record.read_state()
        self.door.generation = int(stored.get("socket_generation", 0))
        self.restarts = int(stored.get("restarts", 0))
        self.timings = dict(stored.get("timings") or {})
        self.state, self.reason = str(stored.get("state", "stopped")), stored.get("reason")
        try:
            self.spec = self.record.read_spec()
        except StateFileError as error:
            self.state, self.reason = "failed", str(error)
        identity = ProcessIdentity.from_json(stored.get("process"))
        if identity is not None and identity.boot != boot_id() and self.state in ("awake", "starting", "stopping"):
            self.state = "asleep"  # The machine was restarted: tenants come back when somebody needs them.
        return Watched.open(identity) if identity is not None else None

    async def adopt(self, process: Watched | None) -> None:
        """Go on from what the record and the living process say."""
        was, self._started_spec = self.state, self.spec
        if process is not None and was == "awake" and self.desired == "running":
            self.process = process
            self._watch_process(process)
            self._set("awake")
            return
        if process is not None:
            # It was starting (its pipe is lost) or stopping: it ends, and a new one is started when needed.
            self.process = process
            async with self._lock:
                await self._stop_process()
        if was == "failed" and (self.desired == "running" or self.spec is None):
            self._failed_at = self.host.clock()
            self.door.unbind()
            self._set("failed", self.reason)
            return
        self._rest(self.reason if was == "asleep" else None, again=was == "asleep")
        if self.spec is None or self.desired != "running":
            return
        if was in ("awake", "starting") or not self.spec.hibernate:
            self.wake_soon()

    async def settled(self) -> None:
        """Wait until nothing is being started or stopped."""
        while self._waking is not None and not self._waking.done():
            await asyncio.wait([self._waking])
        async with self._lock:
            return

    def release(self) -> None:
        """Let go of descriptors when the keeper ends."""
        if self._watcher is not None:
            self._watcher.cancel()
        self.door.unbind()


_background: set[asyncio.Task[None]] = set()
