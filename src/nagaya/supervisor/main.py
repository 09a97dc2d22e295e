"""The supervisor process: binds the sockets, starts keeper, api and gateway, restarts them, stops them in order."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from pathlib import Path

from nagaya.runtime import log_lines
from nagaya.runtime.config import ConfigError, PlatformConfig
from nagaya.runtime.local.adoption import end_strays
from nagaya.runtime.local.processes import (
    ProcessIdentity,
    Reaper,
    all_pids,
    become_subreaper,
    command_line,
    kill_and_wait,
    parent,
)
from nagaya.supervisor import layout, view
from nagaya.supervisor.build import fingerprint
from nagaya.supervisor.certificate import CertificateCopy
from nagaya.supervisor.commands import Commands
from nagaya.supervisor.errors import SetupError
from nagaya.supervisor.processes import Service, command, fix_python_path, service_specs
from nagaya.supervisor.record import SupervisorRecord, take_lock
from nagaya.supervisor.sockets import UNIX_SOCKETS, announce, bind_all, inherited_sockets

logger = logging.getLogger(__name__)

ROTATE_SECONDS = 60.0
STOP_ORDER = ("gateway", "api", "keeper")
ALREADY_RUNNING = 3
END_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
LOCK = "NAGAYA_LOCK"
"""Names the descriptor of the platform's lock, when this process continues in new code."""


class Supervisor:
    """All processes of one platform."""

    def __init__(self, config: PlatformConfig, sockets: dict[str, socket.socket]) -> None:
        self.config, self.sockets = config, sockets
        self.reaper = Reaper()
        identity = ProcessIdentity.of(os.getpid())
        assert identity is not None
        self.record = SupervisorRecord(identity, build=fingerprint())
        self.services = {
            spec.name: Service(spec, config, sockets, self.reaper, self.save) for spec in service_specs(config)
        }

    def save(self) -> None:
        """Record the processes, so that another supervisor can adopt them."""
        self.record.services = {name: service.record() for name, service in self.services.items()}
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
            service.run(found.get(name) if adopt else None)
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
        for name in UNIX_SOCKETS:
            self.config.socket(name).unlink(missing_ok=True)
        SupervisorRecord.path(self.config.run_dir).unlink(missing_ok=True)
        self.config.tls_copy.unlink(missing_ok=True)


def end_leftovers(config: PlatformConfig, earlier: SupervisorRecord | None, *, adopt: bool) -> None:
    """End what an earlier supervisor left and this one does not `adopt`.

    Without its sockets that is all of it: it holds the addresses, and serves sockets that nobody reaches any more. The
    keeper is killed too, because an orderly stop would take the tenants with it: those go on and are adopted. With its
    sockets it is only what that supervisor had started and could not record before it died.
    """
    items = earlier.services.items() if earlier is not None else ()
    found = [(name, identity) for name, item in items for identity in (item.identity, *item.retiring) if identity]
    recorded = {identity.pid: name for name, identity in found if identity.alive()}
    pids = unrecorded(config, frozenset(recorded)) | ({} if adopt else recorded)
    if pids:
        logger.warning("ending processes of an earlier run: %s", pids)
        kill_and_wait(set(pids))


def unrecorded(config: PlatformConfig, recorded: frozenset[int]) -> dict[int, str]:
    """Return the pids and names of this platform's services that are neither `recorded` nor forks of such."""
    endings = {tuple(command(config, spec)[-2:]): spec.name for spec in service_specs(config)}
    lines = {pid: tuple(command_line(pid)[-2:]) for pid in all_pids()}
    found = {pid: endings[line] for pid, line in lines.items() if line in endings and pid not in recorded}
    # A fork has its parent's command line. What a dead supervisor had started has another's: it is the keeper's now.
    forks = {pid for pid in found if (above := parent(pid)) in recorded and lines.get(above or 0) == lines[pid]}
    return {pid: name for pid, name in found.items() if pid not in forks}


async def supervise(
    config: PlatformConfig, sockets: dict[str, socket.socket], certificate: CertificateCopy, *, adopt: bool
) -> bool:
    """Run until SIGTERM or SIGINT; True when this process is to continue in the code that is installed now."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in END_SIGNALS:
        loop.add_signal_handler(number, ended.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)
    supervisor = Supervisor(config, sockets)
    supervisor.start(SupervisorRecord.read(config.run_dir), adopt=adopt)
    chores = [asyncio.create_task(supervisor.rotate_logs()), asyncio.create_task(certificate.follow())]
    commands = Commands(supervisor, ended.set)
    await commands.serve()
    await ended.wait()
    for chore in chores:
        chore.cancel()
    await commands.close()
    if commands.continues:
        supervisor.save()
        return True
    logger.info("stopping")
    await supervisor.stop()
    return False


def inherited_lock() -> int | None:
    """Return the lock that an earlier program in this very process has passed on, or None."""
    descriptor = os.environ.pop(LOCK, None)
    if descriptor is None or not descriptor.isdecimal():
        return None
    os.set_inheritable(int(descriptor), False)
    return int(descriptor)


def continue_in_new_code(config: PlatformConfig, sockets: dict[str, socket.socket], lock: int) -> None:
    """Replace this program by the one that is installed now: same process, same children, same sockets, same lock."""
    variable, descriptors = announce(sockets, sockets)
    for descriptor in (*descriptors, lock):
        os.set_inheritable(descriptor, True)
    command = [sys.executable, "-m", "nagaya.supervisor.main", str(config.path)]
    # Whoever wants to stop the platform in this moment is heard when the new program listens.
    signal.pthread_sigmask(signal.SIG_BLOCK, END_SIGNALS)
    os.execve(command[0], command, os.environ | variable | {LOCK: str(lock)})  # noqa: S606 - no shell is wanted.


def run(config: PlatformConfig) -> int:
    """Supervise the platform in this process and return its exit code.

    Raises SetupError when it cannot start.
    """
    os.umask(0o077)
    fix_python_path()
    layout.prepare(config)
    lock = inherited_lock() or take_lock(config.run_dir)
    if lock is None:
        print(f"nagaya: The platform of {config.data_dir} is already running.", file=sys.stderr)  # noqa: T201
        return ALREADY_RUNNING
    try:
        certificate = CertificateCopy(config)
        view.enter(config)
        os.chdir("/")
        inherited = inherited_sockets()
        adopt = "keeper" in inherited
        end_leftovers(config, SupervisorRecord.read(config.run_dir), adopt=adopt)
        sockets = bind_all(config, inherited)
        config.save()
        certificate.refresh()
        if asyncio.run(supervise(config, sockets, certificate, adopt=adopt)):
            continue_in_new_code(config, sockets, lock)
    finally:
        os.close(lock)
    return 0


def main() -> None:
    """Entry point: `python -m nagaya.supervisor.main [--check] <config.json>`; `--check` only reads the file."""
    try:
        config = PlatformConfig.load(Path(sys.argv[-1]))
        if "--check" in sys.argv[1:-1]:
            return
        log_lines.configure(config.log_level, config.log_format)
        sys.exit(run(config))
    except (SetupError, ConfigError) as error:
        sys.exit(f"nagaya: {error}")


if __name__ == "__main__":
    main()
