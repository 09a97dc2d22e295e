"""What the command line asks of the platform: start, stop, state, readiness."""

from __future__ import annotations

import dataclasses
import http.client
import os
import resource
import signal
import ssl
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypedDict
from urllib.parse import urlsplit

from nagaya.runtime.config import ConfigError, PlatformConfig, default_run_dir
from nagaya.runtime.interface import RuntimeFailure
from nagaya.runtime.local import rpc
from nagaya.runtime.local.adoption import end_strays
from nagaya.runtime.local.logs import open_log, tail
from nagaya.runtime.local.processes import ProcessIdentity, wait_exit
from nagaya.supervisor import commands, layout, main
from nagaya.supervisor.build import fingerprint
from nagaya.supervisor.errors import SetupError
from nagaya.supervisor.processes import fix_python_path
from nagaya.supervisor.record import SupervisorRecord, lock_is_held

READY_TIMEOUT = 60.0
STOP_TIMEOUT = 90.0


class ProcessStatus(TypedDict):
    """One process of the platform."""

    name: str
    pid: int | None
    state: Literal["running", "absent"]
    restarts: int
    outdated: bool
    """Whether it runs other code than the one that is installed now."""


class PlatformStatus(TypedDict):
    """Whether a data directory's platform runs, and where.

    `state` `damaged`: processes without a living supervisor; `ready`: the gateway answers `/ready` with 200.
    """

    running: bool
    state: Literal["stopped", "running", "stopping", "damaged"]
    ready: bool
    pid: int | None
    url: str | None
    detach: bool
    outdated: bool
    """Whether the supervisor runs other code than the one that is installed now."""
    processes: list[ProcessStatus]


def _run_dir(target: Path | PlatformConfig) -> Path:
    if isinstance(target, PlatformConfig):
        return target.run_dir
    return default_run_dir(Path(os.path.abspath(target)))  # noqa: PTH100 - links stay as the user wrote them.


def running(target: Path | PlatformConfig) -> bool:
    """Tell whether a supervisor serves this data directory (or one is just starting)."""
    return lock_is_held(_run_dir(target))


def status(target: Path | PlatformConfig) -> PlatformStatus:
    """Return what runs on a data directory, given by its path or its configuration.

    Raises SetupError when the directory cannot be read.
    """
    run_dir = _run_dir(target)
    result = PlatformStatus(
        running=False,
        state="stopped",
        ready=False,
        pid=None,
        url=None,
        detach=False,
        processes=[],
        outdated=False,
    )
    try:
        config = PlatformConfig.load(run_dir / "config.json")
    except ConfigError:
        return result
    except OSError as error:
        raise SetupError(f"{run_dir} cannot be read by this user: {error.strerror}.") from error
    result["url"], result["detach"] = config.public_url, config.detach
    record = SupervisorRecord.read(run_dir)
    if record is None:
        return result
    build = fingerprint()
    result["outdated"] = record.build != build
    for name, item in record.services.items():
        pid = item.identity.pid if item.identity and item.identity.alive() else None
        state: Literal["running", "absent"] = "running" if pid else "absent"
        outdated = pid is not None and item.build != build
        process = ProcessStatus(name=name, pid=pid, state=state, restarts=item.restarts, outdated=outdated)
        result["processes"].append(process)
    if record.identity.alive():
        result["pid"] = record.identity.pid
        result["running"] = True
        result["state"] = "stopping" if record.state == "stopping" else "running"
    elif any(process["pid"] for process in result["processes"]):
        result["state"] = "damaged"
    result["ready"] = result["state"] != "stopped" and is_ready(config)
    return result


def is_ready(config: PlatformConfig, timeout: float = 2.0) -> bool:
    """Tell whether the gateway answers `/ready` with 200."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.host, config.host)  # noqa: S104 - the meaning of the setting.
    connection = http.client.HTTPConnection(host, config.port, timeout=timeout)
    if config.tls_certificate is not None:
        # The question and its answer are no secret, and the certificate may be for quite another name.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, config.port, timeout=timeout, context=context)
    try:
        connection.request("GET", "/ready", headers={"Host": urlsplit(config.public_url).netloc})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def start(config: PlatformConfig, detach: bool | None = None, *, timeout: float = READY_TIMEOUT) -> int:
    """Start the platform: in this process until it is stopped, or with `detach` in the background until it is ready.

    Returns the exit code for the command line. Raises SetupError with a sentence when it cannot start, is already
    running, or does not become ready within `timeout` seconds.
    """
    if detach is not None and detach != config.detach:
        config = dataclasses.replace(config, detach=detach)
    layout.prepare(config)
    if running(config):
        found = status(config)
        raise SetupError(f"Nagaya already runs on {config.data_dir} (pid {found['pid']}, {found['url']}).")
    _raise_file_limit()
    if not config.detach:
        return main.run(config)
    config.save()
    fix_python_path()
    log = open_log(config.log_dir / "supervisor.log", config.log_bytes, config.log_files)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "nagaya.supervisor.main", str(config.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    finally:
        os.close(log)
    try:
        wait_ready(config, process, timeout)
    finally:
        process.returncode = process.returncode or 0  # It outlives us: nobody is to wait for it.
    return 0


def wait_ready(config: PlatformConfig, process: subprocess.Popen[bytes] | None, timeout: float) -> None:
    """Wait until the platform answers. Raises SetupError with the last log line when it ends or stays silent."""
    deadline = time.monotonic() + timeout
    while not (_took_over(config, process) and is_ready(config)):
        log = config.log_dir / "supervisor.log"
        if process is not None and process.poll() is not None:
            lines = tail(log, 20, below=log.parent)
            spoken = [line.removeprefix("nagaya: ") for line in lines if line.startswith("nagaya: ")]
            raise SetupError(spoken[-1] if spoken else f"Nagaya ended at once; see {log}.")
        if time.monotonic() > deadline:
            raise SetupError(f"Nagaya does not answer after {timeout:g} s; {_slowest(config)} See {config.log_dir}.")
        time.sleep(0.1)


def _took_over(config: PlatformConfig, process: subprocess.Popen[bytes] | None) -> bool:
    """Tell whether our supervisor serves, and has recorded all that it started.

    Until then a gateway of an earlier run may still answer, or ours before its supervisor has written it down.
    """
    record = SupervisorRecord.read(config.run_dir)
    if record is None or (process is not None and record.identity.pid != process.pid):
        return False
    return all(item.identity is not None for item in record.services.values())


def _slowest(config: PlatformConfig) -> str:
    """Say which process seems to be at fault."""
    record = SupervisorRecord.read(config.run_dir)
    failing = [name for name, item in (record.services if record else {}).items() if item.restarts]
    if not failing:
        return "its processes run."
    path = config.log_dir / f"{failing[0]}.log"
    last = [line for line in tail(path, 20, below=path.parent) if line.strip()]
    return f"{failing[0]} keeps ending ({last[-1] if last else 'its log is empty'})."


def stop(target: Path | PlatformConfig, timeout: float = STOP_TIMEOUT) -> bool:
    """Stop the platform in order and wait for it (seconds); False when it still runs after that.

    Raises SetupError when it belongs to another user.
    """
    run_dir = _run_dir(target)
    record = SupervisorRecord.read(run_dir)
    if record is None:
        return not lock_is_held(run_dir)
    deadline = time.monotonic() + timeout
    services = [record.services[name] for name in main.STOP_ORDER if name in record.services]
    # The supervisor first. Processes without one are stopped directly, the keeper (with its tenants) last.
    retiring = [identity for item in services for identity in item.retiring]
    for identity in [record.identity, *retiring, *(item.identity for item in services)]:
        if identity is not None and not _terminate(identity, deadline):
            return False
    end_strays(run_dir, max(0.1, deadline - time.monotonic()))
    SupervisorRecord.path(run_dir).unlink(missing_ok=True)
    return True


def _terminate(identity: ProcessIdentity, deadline: float) -> bool:
    """Send SIGTERM and wait; False when the process still runs at the deadline. Raises SetupError."""
    if not identity.alive():
        return True
    try:
        descriptor = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return True
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        return wait_exit(descriptor, deadline - time.monotonic())
    except ProcessLookupError:
        return True
    except PermissionError as error:
        raise SetupError("Nagaya runs as another user; stop it as that user.") from error
    finally:
        os.close(descriptor)


def restart(target: Path | PlatformConfig, service: str, timeout: float) -> dict[str, Any]:
    """Replace one process of a running platform, so that no request is lost; `supervisor` continues in new code.

    Returns `{"before", "pid", "seconds"}`. Raises SetupError when it does not run, does not answer within `timeout`
    seconds, or when the new process does not serve.
    """
    path = commands.socket_path(_run_dir(target))
    try:
        if service != "supervisor":
            answer: dict[str, Any] = rpc.call(path, "restart", timeout=timeout, service=service)
            return answer
        began = time.monotonic()
        before = rpc.call(path, "continue", timeout=timeout)
        pid = _wait_continued(_run_dir(target), path, before["run"], began + timeout)
        return {"before": before["pid"], "pid": pid, "seconds": round(time.monotonic() - began, 3)}
    except rpc.KeeperUnreachableError as error:
        raise SetupError(
            f"The supervisor does not answer on {path}. A platform that was started by a version without "
            "`nagaya restart` is restarted with `nagaya down` and `nagaya up`."
        ) from error
    except RuntimeFailure as error:
        raise SetupError(str(error)) from error


def _wait_continued(run_dir: Path, path: Path, run: str, deadline: float) -> int:
    """Wait until another program than `run` answers and return its process id. Raises SetupError."""
    while time.monotonic() < deadline:
        with suppress(RuntimeFailure):
            hello = rpc.call(path, "hello", timeout=5.0)
            if hello["run"] != run:
                return int(hello["pid"])
        time.sleep(0.05)
    raise SetupError(f"The supervisor does not come back; see the logs of {run_dir}, or `nagaya up`.")


def _raise_file_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
