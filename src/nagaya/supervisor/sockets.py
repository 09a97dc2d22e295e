"""Listening sockets: bound once, inherited by whoever serves them, all kept by the keeper for a new supervisor."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from nagaya.runtime.config import PlatformConfig
from nagaya.supervisor.errors import SetupError

VARIABLE = "NAGAYA_SOCKETS"
READY = "NAGAYA_READY"
"""Names the descriptor to which a process that replaces another writes once it serves."""
BACKLOG = 1024
REDIRECT = "redirect"
"""The public port of plain HTTP that only shows the way to TLS, if there is one."""
UNIX_SOCKETS = {"keeper": 0o666, "api": 0o660, "internal": 0o660, "channel": 0o666}
"""Modes. The keeper checks its peers, the channel its tokens; the other two belong to the gateway."""


def bind_all(config: PlatformConfig, inherited: Mapping[str, socket.socket] | None = None) -> dict[str, socket.socket]:
    """Bind every listening socket of the platform that is not among the `inherited` ones.

    Raises SetupError when a port is taken or an address cannot be used.
    """
    sockets = dict(inherited or {})
    if "gateway" not in sockets:
        sockets["gateway"] = _bind_public(config.host, config.port)
    if config.redirect_port is not None and REDIRECT not in sockets:
        sockets[REDIRECT] = _bind_public(config.host, config.redirect_port)
    if config.metrics_address is not None and "metrics" not in sockets:
        sockets["metrics"] = _bind_public(*config.metrics_address)
    for name, mode in UNIX_SOCKETS.items():
        if name in sockets:
            continue
        path = config.socket(name)
        sockets[name] = bind_unix(path, mode)
        if config.gateway_uid is not None and os.geteuid() == 0 and mode == 0o660:
            os.chown(path, 0, config.gateway_uid)
    return sockets


def _bind_public(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    except socket.gaierror as error:
        raise SetupError(
            f"The address {host} is not known here ({error.strerror}); choose another with --host."
        ) from error
    public = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        public.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        public.bind((host, port))
        public.listen(BACKLOG)
    except OSError as error:
        public.close()
        raise SetupError(_explain(error, host, port)) from error
    return public


def _explain(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is taken by another program; stop that one or choose another port with --port."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is not an address of this machine; choose another with --host."
    if error.errno == errno.EACCES:
        return f"Port {port} needs privileges; choose one above 1023 with --port, or start as root."
    return f"Cannot listen on {host} port {port}: {error.strerror}."


def bind_unix(path: Path, mode: int) -> socket.socket:
    """Bind a unix socket; whoever calls this holds the platform's lock. Raises SetupError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        # The supervisor holds the lock of this directory, so whatever lies here is a leftover.
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        path.chmod(mode)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise SetupError(f"Cannot listen on {path}: {error.strerror}.") from error
    return listener


def announce(sockets: Mapping[str, socket.socket], names: Iterable[str]) -> tuple[dict[str, str], list[int]]:
    """Return the environment variable and the descriptors that hand the named sockets to a child."""
    chosen = {name: sockets[name].fileno() for name in names if name in sockets}
    return {VARIABLE: json.dumps(chosen)}, list(chosen.values())


def inherited_sockets() -> dict[str, socket.socket]:
    """Return the listening sockets that the parent announced; they are not passed on to children by accident.

    Raises SetupError when a descriptor is announced but absent.
    """
    sockets = {}
    for name, descriptor in json.loads(os.environ.get(VARIABLE) or "{}").items():
        try:
            os.set_inheritable(descriptor, False)
            sockets[name] = socket.socket(fileno=descriptor)
        except OSError as error:
            raise SetupError(f"{VARIABLE} announces {name!r}, but its descriptor is not open.") from error
    return sockets


def say_ready() -> None:
    """Tell the supervisor that this process serves, if it waits for that; it then ends the one that is replaced."""
    descriptor = os.environ.pop(READY, None)
    if descriptor is not None and descriptor.isdecimal():
        with suppress(OSError):  # A supervisor that went away waits for nothing.
            os.write(int(descriptor), b"ready\n")
        with suppress(OSError):
            os.close(int(descriptor))
