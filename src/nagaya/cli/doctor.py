"""nagaya doctor: what this machine offers, what is wrong, and what is not protected here."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from nagaya.cli import doctor_host, doctor_platform
from nagaya.cli.findings import Finding, existing
from nagaya.runtime.config import PlatformConfig
from nagaya.tls import CertificateError, shortcomings, wanted_hosts

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
TIME_ERROR = 5
"""What adjtimex(2) returns while the kernel's clock is not synchronised."""
DISK_ERROR, DISK_WARNING = 1 << 30, 5 << 30
MEMORY_PER_TENANT = 64 << 20


def examine(config: PlatformConfig) -> Iterator[Finding]:
    """Runs every check; a check that breaks reports itself."""
    checks: tuple[Callable[[PlatformConfig], Iterator[Finding]], ...] = (
        check_python,
        check_pidfd,
        check_namespaces,
        check_data_directory,
        check_disk,
        check_memory,
        check_clock,
        check_engines,
        check_port,
        check_protection,
        *doctor_host.CHECKS,
        *doctor_platform.CHECKS,
    )
    for check in checks:
        name = check.__name__.removeprefix("check_")
        try:
            yield from check(config)
        except Exception as error:
            yield Finding(name, "error", f"The check itself failed: {type(error).__name__}: {error}")


def check_python(_config: PlatformConfig) -> Iterator[Finding]:
    """The system and the Python version."""
    version = sys.version.split()[0]
    if not sys.platform.startswith("linux"):
        yield Finding("python", "error", f"The platform needs Linux; this is {sys.platform}.")
    elif (3, 11) <= sys.version_info[:2] <= (3, 14):
        yield Finding("python", "ok", f"Linux {os.uname().release} on {os.uname().machine}, Python {version}.")
    else:
        yield Finding("python", "error", f"Python 3.11 to 3.14 is needed; this is {version}.")


def check_pidfd(_config: PlatformConfig) -> Iterator[Finding]:
    """pidfd_open(2), by which processes are told apart although numbers are used again."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (OSError, AttributeError):
        yield Finding("pidfd", "error", "The kernel has no pidfd_open.", "Use Linux 5.3 or newer.")
    else:
        yield Finding("pidfd", "ok", "The kernel has pidfd_open.")


def can_unshare(flags: int) -> bool:
    """Whether unshare(2) with `flags` succeeds, tried in a process of its own."""
    code = "import ctypes, sys; sys.exit(1 if ctypes.CDLL(None).unshare(int(sys.argv[1])) else 0)"
    command = [sys.executable, "-I", "-c", code, str(flags)]
    return subprocess.run(command, check=False, capture_output=True, timeout=20).returncode == 0


def check_namespaces(_config: PlatformConfig) -> Iterator[Finding]:
    """Mount namespaces (as root) and user namespaces (without)."""
    if os.geteuid() == 0:
        if can_unshare(CLONE_NEWNS):
            yield Finding("mount_namespace", "ok", "Private mount namespaces work.")
        else:
            advice = "Allow CAP_SYS_ADMIN, or install Python and the engines where every user can read them."
            message = "Private mount namespaces are refused: tenants cannot use a Python below a closed home directory."
            yield Finding("mount_namespace", "warning", message, advice)
    if can_unshare(CLONE_NEWUSER):
        yield Finding("user_namespace", "ok", "User namespaces work.")
    else:
        message = "User namespaces are refused; sandboxes without root will not be available."
        yield Finding("user_namespace", "warning", message, "sysctl kernel.unprivileged_userns_clone=1")


def check_data_directory(config: PlatformConfig) -> Iterator[Finding]:
    """Whether the data directory can be used and is closed to others."""
    directory = config.data_dir
    if not directory.exists():
        parent = next(path for path in directory.parents if path.exists())
        if os.access(parent, os.W_OK | os.X_OK):
            yield Finding("data_directory", "ok", f"{directory} does not exist yet; `nagaya up` will make it.")
        else:
            yield Finding("data_directory", "error", f"{directory} cannot be made: {parent} is not writable.")
        return
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        advice = "Start as the user who owns it, or choose another with --data-dir."
        yield Finding("data_directory", "error", f"{directory} is not yours to write.", advice)
        return
    yield Finding("data_directory", "ok", f"{directory} can be written.")
    key = config.master_key_path
    if key.exists() and key.stat().st_mode & 0o077:
        yield Finding("master_key", "error", f"{key} can be read by others.", f"chmod 600 {key}")
    elif key.exists():
        yield Finding("master_key", "ok", "The master key is closed to others.")


def check_disk(config: PlatformConfig) -> Iterator[Finding]:
    """Free space below the data directory."""
    free = shutil.disk_usage(existing(config.data_dir)).free
    text = f"{free / (1 << 30):.1f} GiB are free for {config.data_dir}."
    advice = "" if free >= DISK_WARNING else "Free some space, or move the data directory."
    yield Finding("disk", "error" if free < DISK_ERROR else "warning" if free < DISK_WARNING else "ok", text, advice)


def check_memory(_config: PlatformConfig) -> Iterator[Finding]:
    """Available memory, in waking tenants."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    room = available // MEMORY_PER_TENANT
    text = f"{available / (1 << 30):.1f} GiB of memory are available: about {room} awake tenants."
    yield Finding("memory", "ok" if room >= 8 else "warning", text)


def check_clock(config: PlatformConfig) -> Iterator[Finding]:
    """Whether the clock can be trusted: tokens live by it."""
    instance = config.data_dir / "instance.json"
    if instance.exists() and instance.stat().st_mtime > time.time() + 60:
        text = "The clock is behind the last start of this platform; tokens will be refused."
        yield Finding("clock", "error", text, "Set the clock.")
    elif ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)) == TIME_ERROR:
        text = "The kernel says that nothing synchronises this clock; clients with another time may be refused."
        yield Finding("clock", "warning", text, "Run a time service such as systemd-timesyncd or chrony.")
    else:
        yield Finding("clock", "ok", "The clock is synchronised.")


def check_engines(config: PlatformConfig) -> Iterator[Finding]:
    """Whether every file of each installed engine is the one that was installed, and its interpreter starts."""
    from nagaya.engines import catalog, health, steps  # noqa: PLC0415  (only needed here)

    versions = catalog.present(config.engines_dir)
    if not versions:
        text = f"No engine is installed in {config.engines_dir}: no tenant can be hosted."
        yield Finding("engines", "error", text, "Install one: nagaya engine install (./run up does it by itself).")
    for version in versions:
        found = health.examine_one(config.engines_dir, version, thorough=True)
        name, again = f"engine_{version}", f"nagaya engine install {version}"
        if found.problem is not None:
            yield Finding(name, "error", f"{found.problem.partition('. Repair')[0]}.", f"Repair it: {again} --repair")
        elif steps.python_version(found.directory / "bin" / "python") is None:
            text = f"The engine {version} is damaged: its interpreter does not start."
            yield Finding(name, "error", text, f"Repair it: {again} --repair")
        elif found.outdated:
            text = f"The engine {version} was made by another release of Nagaya."
            yield Finding(name, "warning", text, f"Renew it: {again}")
        else:
            yield Finding(name, "ok", f"The engine {version} is healthy.")


def check_port(config: PlatformConfig) -> Iterator[Finding]:
    """Whether the address can be listened on, or is held by this platform."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.host, config.port))
        except OSError as error:
            if doctor_platform.runs(config):
                yield Finding("port", "ok", f"{config.host}:{config.port} is this platform's, which runs.")
                return
            text = f"{config.host}:{config.port} cannot be listened on ({error.strerror}): something else does."
            yield Finding("port", "warning", text, "ss -ltnp tells what; --port chooses another.")
        else:
            yield Finding("port", "ok", f"{config.host}:{config.port} is free.")


def check_uid_overlap(run_dir: Path, first: int, last: int) -> Iterator[Finding]:
    """Whether somebody else on this host uses the tenants' user ids: another platform that runs, or containers."""
    from nagaya.runtime.local.orphans import other_platforms  # noqa: PLC0415  (only as root)

    users = {
        f"The platform of {other.data_dir}"
        for other in other_platforms(run_dir).values()
        if other.tenant_uids is not None and other.tenant_uids[0] <= last and first <= other.tenant_uids[1]
    }
    subordinate = Path("/etc/subuid")
    for line in subordinate.read_text(encoding="utf-8").splitlines() if subordinate.exists() else ():
        name, start, count = [*line.strip().split(":"), "", ""][:3]
        if start.isdecimal() and count.isdecimal() and int(start) <= last and first < int(start) + int(count):
            users.add(f"{name} (for containers, {subordinate})")
    for user in sorted(users):
        text = f"{user} may use the same user ids as tenants here: they could read and end each other's."
        yield Finding("tenant_uids", "warning", text, "Give each its own range: NAGAYA_TENANT_UIDS.")


def check_certificate(config: PlatformConfig) -> Iterator[Finding]:
    """Whether the TLS certificate, if there is one, can be used, for every host that it is needed for."""
    if config.tls_certificate is None or config.tls_key is None:
        return
    hosts = wanted_hosts(config.public_url, config.gateway.get("tenant_hosts"))
    try:
        troubles = list(shortcomings(config.tls_certificate, config.tls_key, hosts))
    except CertificateError as error:
        yield Finding("certificate", "error", str(error), "The platform refuses to start with it.")
        return
    for trouble in troubles:
        yield Finding("certificate", "warning", trouble, "Have it issued anew.")
    if not troubles:
        yield Finding("certificate", "ok", "The TLS certificate is valid and covers every host that is needed.")


def check_protection(config: PlatformConfig) -> Iterator[Finding]:
    """What is not protected on this host (SECURITY.md has the reasons)."""
    if config.tenant_uids is None:
        text = "Everything runs as one user: nothing in the file system keeps one tenant's process from another's data."
        yield Finding("tenant_users", "warning", text, "Start as root: every tenant gets a user id of its own.")
    else:
        first, last = config.tenant_uids
        yield Finding("tenant_users", "ok", f"Each tenant runs as a user of its own ({first} to {last}).")
        yield from check_uid_overlap(config.run_dir, first, last)
    yield from check_certificate(config)
    parts = urlsplit(config.public_url)
    if parts.scheme == "http" and parts.hostname not in {"127.0.0.1", "::1", "localhost"}:
        text = f"{config.public_url} is not encrypted: passwords and tokens can be read on the way."
        yield Finding("transport", "warning", text, "Speak TLS: docs/how-to/tls.md says how.")
    else:
        yield Finding("transport", "ok", "Credentials do not cross a network unencrypted.")
