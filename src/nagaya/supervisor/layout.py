"""The data directory: made with the right owners and modes, checked before anything is started."""

from __future__ import annotations

import errno
import os
import resource
import stat
import uuid
from pathlib import Path

import nagaya
from nagaya.runtime.config import DATA_FORMAT, PlatformConfig
from nagaya.runtime.files import StateFileError, read_json, write_json
from nagaya.supervisor.errors import SetupError

RESTORING = "restoring.json"
"""The mark of `nagaya backup restore`, as long as it is not complete."""
SMALLEST_FREE = 64 * 1024 * 1024
SMALLEST_FILE_LIMIT = 1024


def check_format(data_dir: Path) -> None:
    """Refuse a data directory that a newer version has written. Raises SetupError."""
    if (data_dir / RESTORING).exists():
        raise SetupError(
            f"A restore into {data_dir} was interrupted; call `nagaya backup restore` again, which begins anew."
        )
    try:
        instance = read_json(data_dir / "instance.json")
    except StateFileError as error:
        raise SetupError(f"{error}; restore it from a backup.") from error
    except OSError as error:
        raise SetupError(f"{data_dir} cannot be read: {error.strerror}.") from error
    if instance is not None and int(instance.get("format", 0)) > DATA_FORMAT:
        raise SetupError(
            f"{data_dir} was written by Nagaya {instance.get('version')}, which is newer than this one "
            f"({nagaya.__version__}); install that version or a later one."
        )


def prepare(config: PlatformConfig) -> None:
    """Make the directories with their owners and modes; repeated calls repair them.

    Raises SetupError when the disk is full or read-only, the data directory is of a newer format or belongs to
    another user, or the limit on open files is too low.
    """
    _check_limits()
    try:
        config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_format(config.data_dir)
        _check_space(config.data_dir)
        _make(config)
        if not (config.data_dir / "instance.json").exists():
            instance = {"format": DATA_FORMAT, "version": nagaya.__version__, "id": str(uuid.uuid4())}
            write_json(config.data_dir / "instance.json", instance, mode=0o644)
    except OSError as error:
        raise SetupError(_explain(error, config.data_dir)) from error


def _make(config: PlatformConfig) -> None:
    service, gateway = config.service_uid, config.gateway_uid
    split = os.geteuid() == 0 and service is not None
    # Root keeps what it writes to itself: in a sticky directory of several users the kernel may forbid even root to
    # open what belongs to others (fs.protected_regular, see proc_sys_fs(5)), and what others may write may be a trap.
    _directory(config.data_dir, 0o711 if split else 0o700)
    for private in (config.control_dir, config.data_dir / "keys"):
        _directory(private, 0o700, service, service)
        if split and service is not None:
            _give(private, service)
    _directory(config.keeper_dir, 0o700)
    _directory(config.data_dir / "tenants", 0o711)
    _directory(config.log_dir, 0o700)
    if not config.run_dir.is_relative_to(config.data_dir):
        config.run_dir.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    _directory(config.run_dir, 0o711 if split else 0o700)
    _directory(config.run_dir / "t", 0o710 if split else 0o700, None, gateway)


def _give(directory: Path, owner: int) -> None:
    """Hand what root put into the api's directory to it, as after a restored backup.

    The api may write there: a file with a second name may be anybody's, and is left alone.
    """
    for path in directory.iterdir():
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue  # A link, a socket, or gone: nothing that a backup holds.
        try:
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode) and status.st_uid == 0 and status.st_nlink == 1:
                os.fchown(descriptor, owner, owner)
        finally:
            os.close(descriptor)


def _directory(path: Path, mode: int, owner: int | None = None, group: int | None = None) -> None:
    path.mkdir(mode=0o700, exist_ok=True)
    if path.is_symlink():
        raise SetupError(f"{path} is a symbolic link; Nagaya needs a real directory there.")
    status = path.stat()
    if os.geteuid() == 0:
        os.chown(path, owner or 0, group or 0)
    elif status.st_uid != os.geteuid():
        raise SetupError(f"{path} belongs to another user; start Nagaya as that user or choose another data directory.")
    path.chmod(mode)


def _check_space(path: Path) -> None:
    free = os.statvfs(path)
    if free.f_bavail * free.f_frsize < SMALLEST_FREE:
        raise SetupError(f"The disk of {path} is full (less than 64 MiB free); make room and start again.")


def _check_limits() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < SMALLEST_FILE_LIMIT:
        raise SetupError(
            f"Only {hard} files may be open at once; allow at least {SMALLEST_FILE_LIMIT} "
            "(`ulimit -Hn`, or LimitNOFILE= in systemd)."
        )


def _explain(error: OSError, data_dir: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk of {data_dir} is full; make room and start again."
    if error.errno == errno.EROFS:
        return f"{data_dir} is on a read-only disk; choose another data directory."
    if error.errno in (errno.EACCES, errno.EPERM):
        place = error.filename or data_dir
        return f"{place} may not be written by this user; choose another data directory or start as its owner."
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return f"{error.filename or data_dir} is not a directory; choose another data directory."
    return f"{data_dir} cannot be used: {error.strerror}."
