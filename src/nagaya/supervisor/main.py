"""The supervisor process: binds the sockets, starts keeper, api and gateway, restarts them, stops them in order."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from pathlib import Path

from nagaya.runtime.config import ConfigError, PlatformConfig
from nagaya.runtime.local.adoption import end_strays
from nagaya.runtime.local.processes import ProcessIdentity, Reaper, become_subreaper, kill_and_wait
from nagaya.supervisor import layout, view
from nagaya.supervisor.certificate import CertificateCopy
from nagaya.supervisor.errors import SetupError
from nagaya.supervisor.processes import Service, fix_python_path, service_specs
from nagaya.supervisor.record import ServiceRecord, SupervisorRecord, take_lock
from nagaya.supervisor.sockets import UNIX_SOCKETS, bind_all, inherited_sockets

logger = logging.getLogger(__name__)

ROTATE_SECONDS = 60.0
STOP_ORDER = ("gateway", "api", "keeper")
ALREADY_RUNNING = 3


class Supervisor:
    """All processes of one platform."""

    def __init__(self, config: PlatformConfig, sockets: dict[str, socket.socket]) -> None:
        self.config = config
        self.reaper = Reaper()
        identity = ProcessIdentity.of(os.getpid())
        assert identity is not None
        self.record = SupervisorRecord(identity)
        self.services = {
            spec.name: Service(spec, config, sockets, self.reaper, self.save) for spec in service_specs(config)
        }

    def save(self) -> None:
        """Record the processes, so that another supervisor can adopt them."""
        self.record.services = {
            name: ServiceRecord(service.identity, service.restarts) for name, service in self.services.items()
        }
        try:
            self.record.write(self.config)
        except OSError:
            logger.exception("the processes cannot be recorded")

    def start(self, earlier: SupervisorRecord | None, *, adopt: bool) -> None:
        """Adopt the processes of an earlier supervisor if wanted, and start what is missing."""
        become_subreaper()
        self.reaper.install()
        found = earlier.services if earlier is not None else {}
        for name, service in self.services.items():
            known = found.get(name)
            service.run(known.identity if adopt and known else None, known.restarts if adopt and known else 0)
        self.save()

    async def rotate_logs(self) -> None:
        """Keep the logs small, for ever."""
        while True:
            await asyncio.sleep(ROTATE_SECONDS)
            for service in self.services.values():
                service.rotate_log()

    async def stop(self) -> None:
        """Stop everything in order: no new requests, then the api, then the tenants."""
        self.record.state = "stopping"
        self.save()
        for name in STOP_ORDER:
            await self.services[name].stop()
            self.save()
        # A keeper that was stopped before it could listen to signals, or had to be killed, leaves its tenants.
        end_strays(self.config.run_dir, self.config.stop_timeout)
        for name in (*UNIX_SOCKETS, "supervisor"):
            path = self.config.run_dir / ("supervisor.json" if name == "supervisor" else f"{name}.sock")
            path.unlink(missing_ok=True)
        self.config.tls_copy.unlink(missing_ok=True)


def end_leftovers(earlier: SupervisorRecord | None) -> None:
    """End what an earlier run left: it holds the addresses, and serves sockets that nobody reaches any more.

    The keeper is killed too, because an orderly stop would take the tenants with it: those go on and are adopted.
    """
    found = earlier.services.items() if earlier is not None else ()
    pids = {item.identity.pid: name for name, item in found if item.identity and item.identity.alive()}
    if pids:
        logger.warning("ending processes of an earlier run: %s", pids)
        kill_and_wait(set(pids))


async def supervise(
    config: PlatformConfig, sockets: dict[str, socket.socket], certificate: CertificateCopy, *, adopt: bool
) -> None:
    """Run until SIGTERM or SIGINT."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, ended.set)
    supervisor = Supervisor(config, sockets)
    supervisor.start(SupervisorRecord.read(config.run_dir), adopt=adopt)
    chores = [asyncio.create_task(supervisor.rotate_logs()), asyncio.create_task(certificate.follow())]
    await ended.wait()
    for chore in chores:
        chore.cancel()
    logger.info("stopping")
    await supervisor.stop()


def run(config: PlatformConfig) -> int:
    """Supervise the platform in this process and return its exit code.

    Raises SetupError when it cannot start.
    """
    os.umask(0o077)
    fix_python_path()
    layout.prepare(config)
    lock = take_lock(config.run_dir)
    if lock is None:
        print(f"nagaya: The platform of {config.data_dir} is already running.", file=sys.stderr)  # noqa: T201
        return ALREADY_RUNNING
    try:
        certificate = CertificateCopy(config)
        view.enter(config)
        os.chdir("/")
        sockets = inherited_sockets()
        adopt = "keeper" in sockets
        if not adopt:
            end_leftovers(SupervisorRecord.read(config.run_dir))
        config.save()
        certificate.refresh()
        asyncio.run(supervise(config, sockets if adopt else bind_all(config), certificate, adopt=adopt))
    finally:
        os.close(lock)
    return 0


def main() -> None:
    """Entry point: `python -m nagaya.supervisor.main <config.json>`."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        sys.exit(run(PlatformConfig.load(Path(sys.argv[1]))))
    except (SetupError, ConfigError) as error:
        sys.exit(f"nagaya: {error}")


if __name__ == "__main__":
    main()
