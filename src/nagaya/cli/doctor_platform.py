"""nagaya doctor, the installation, running or not: owners and modes, keys, database, leftovers, backups."""

from __future__ import annotations

import datetime as dt
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from nagaya.cli.findings import Finding
from nagaya.cli.service_user import as_service
from nagaya.runtime.config import PlatformConfig
from nagaya.runtime.files import StateFileError, read_json

SKEW_SECONDS = 5.0
BACKUP_DAYS = 7


def check_permissions(config: PlatformConfig) -> Iterator[Finding]:
    """Owners and modes of what the platform keeps; `nagaya up` repairs most of them."""
    if not config.data_dir.is_dir():
        return
    wrong = list(_wrong_modes(config))
    for path, problem in wrong:
        yield Finding("permissions", "error", f"{path} {problem}.", "`nagaya up` repairs it; find out who changed it.")
    if not wrong:
        yield Finding("permissions", "ok", "Owners and modes of all files are as they should be.")


def _wrong_modes(config: PlatformConfig) -> Iterator[tuple[Path, str]]:
    split = os.geteuid() == 0 and config.service_uid is not None
    root = 0 if os.geteuid() == 0 else os.geteuid()
    service = config.service_uid if split and config.service_uid is not None else root
    expected = {
        config.data_dir: (0o711 if split else 0o700, root),
        config.control_dir: (0o700, service),
        config.data_dir / "keys": (0o700, service),
        config.keeper_dir: (0o700, root),
        config.log_dir: (0o700, root),
    }
    for name, uid in _tenant_users(config).items():
        expected[config.data_dir / "tenants" / name] = (0o700, uid)
    for path, (mode, owner) in expected.items():
        try:
            status = path.lstat()
        except (FileNotFoundError, PermissionError):
            continue
        if stat.S_ISLNK(status.st_mode):
            yield path, "is a symbolic link"
        elif stat.S_IMODE(status.st_mode) & ~mode:
            yield path, f"has the mode {stat.S_IMODE(status.st_mode):o}, which lets in more than {mode:o}"
        elif status.st_uid != owner:
            yield path, f"belongs to user {status.st_uid} instead of {owner}"


def _tenant_users(config: PlatformConfig) -> dict[str, int]:
    if config.tenant_uids is None or os.geteuid() != 0:
        return {}
    try:
        return {
            str(key): int(uid) for key, uid in (read_json(config.keeper_dir / "uids.json") or {})["assigned"].items()
        }
    except (StateFileError, KeyError, ValueError, OSError):
        return {}


def check_keys(config: PlatformConfig) -> Iterator[Finding]:
    """Whether the keys can be read and are those with which the tenants' secrets were sealed."""
    if not (config.data_dir / "keys").is_dir():
        return

    def work() -> dict[str, str | None]:
        from nagaya.identity.keys import KeyFileError, Keys  # noqa: PLC0415 - a large library.

        try:
            keys = Keys.load(config.data_dir, config.master_key_file)
        except KeyFileError as error:
            return {"error": str(error)}
        return {"error": None, "id": keys.master.id, "sealed": ",".join(sorted(_sealing_keys(config)))}

    told = as_service(config, work)
    if told["error"]:
        yield Finding("keys", "error", told["error"], "Restore the keys from where a copy is kept.")
        return
    others = sorted(set((told["sealed"] or "").split(",")) - {"", str(told["id"])})
    if others:
        text = f"Secrets of tenants were sealed with other keys ({', '.join(others)}) than the one here ({told['id']})."
        yield Finding("keys", "error", text, "Put the right master.key back; tenants cannot start without it.")
    else:
        yield Finding("keys", "ok", f"The keys can be read (master key {told['id']}).")


def _sealing_keys(config: PlatformConfig) -> set[str]:
    """The ids of the keys that the envelopes in the control database name; none when it cannot be read."""
    from sqlalchemy import select  # noqa: PLC0415 - as above.
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    from nagaya.db.engine import Database, database_url  # noqa: PLC0415
    from nagaya.tenants.models import Tenant  # noqa: PLC0415

    if config.database_url is None and not (config.control_dir / "control.db").exists():
        return set()
    database = Database(database_url(config.data_dir, config.database_url))
    columns = (Tenant.jwt_secret, Tenant.secrets_store_key, Tenant.channel_token, Tenant.client_secret)
    try:
        with database.read() as session:
            texts = [value for row in session.execute(select(*columns).where(Tenant.purged.is_(None))) for value in row]
            return {text.split(".")[1] for text in texts if text.startswith("v1.") and text.count(".") == 2}
    except SQLAlchemyError:
        return set()
    finally:
        database.close()


def check_database(config: PlatformConfig) -> Iterator[Finding]:
    """Whether the control database answers, has a schema that this version knows, and agrees about the time."""
    if config.database_url is None and not config.control_dir.is_dir():
        yield Finding("database", "ok", "There is no control database yet; `nagaya up` will make it.")
        return
    told = as_service(config, lambda: _database_facts(config))
    if told["error"]:
        yield Finding(
            "database", "error", f"The control database cannot be used: {told['error']}", told["advice"] or ""
        )
        return
    skew = float(told["skew"] or 0)
    if abs(skew) > SKEW_SECONDS:
        text = f"The clock of the database's server differs by {abs(skew):.0f} s: tokens and leases go wrong."
        yield Finding("database_clock", "error", text, "Synchronise both clocks (chrony, systemd-timesyncd).")
    yield Finding("database", "ok", f"The control database answers ({told['kind']}, schema {told['schema']}).")


def _database_facts(config: PlatformConfig) -> dict[str, str | None]:
    from alembic.migration import MigrationContext  # noqa: PLC0415 - large libraries.
    from sqlalchemy import text  # noqa: PLC0415
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    from nagaya.db.engine import Database, database_url  # noqa: PLC0415

    if config.database_url is None and not (config.control_dir / "control.db").exists():
        return {"error": "its file is missing.", "advice": "Restore a backup, or call `nagaya up` for an empty one."}
    database = Database(database_url(config.data_dir, config.database_url))
    try:
        with database.engine.connect() as connection:
            schema = MigrationContext.configure(connection).get_current_revision()
            if database.is_sqlite and (said := connection.execute(text("PRAGMA quick_check")).scalar_one()) != "ok":
                return {"error": f"it is damaged ({said}).", "advice": "Restore a backup: nagaya backup restore"}
            skew = 0.0
            if not database.is_sqlite:
                now = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
                skew = (dt.datetime.now(dt.UTC) - now).total_seconds()
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
        return {"error": f"{reason}.", "advice": "Check NAGAYA_DATABASE_URL, the server, and the disk."}
    finally:
        database.close()
    return {"error": None, "kind": database.engine.dialect.name, "schema": schema or "none yet", "skew": str(skew)}


def runs(config: PlatformConfig) -> bool:
    """Whether this platform runs, as far as this user can tell."""
    from nagaya.supervisor import control  # noqa: PLC0415
    from nagaya.supervisor.errors import SetupError  # noqa: PLC0415

    try:
        return control.status(config)["state"] == "running"
    except SetupError:
        return False


def check_leftovers(config: PlatformConfig) -> Iterator[Finding]:
    """Processes and sockets that are there although the platform is not."""
    from nagaya.runtime.local.adoption import stray_tenants, stray_zygotes  # noqa: PLC0415
    from nagaya.supervisor import control  # noqa: PLC0415
    from nagaya.supervisor.errors import SetupError  # noqa: PLC0415

    try:
        state = control.status(config)["state"]
    except SetupError as error:
        yield Finding("leftovers", "warning", str(error), "Call nagaya doctor as the user who runs the platform.")
        return
    if state == "running":
        yield Finding("leftovers", "ok", "The platform runs.")
        return
    strays = stray_tenants(config.run_dir) | stray_zygotes(config.run_dir)
    if state == "damaged" or strays:
        text = f"Processes of the platform run without a supervisor ({len(strays)} of tenants and engines)."
        yield Finding("leftovers", "error", text, "`nagaya up` adopts them; `nagaya down` ends them.")
    else:
        yield Finding("leftovers", "ok", "The platform does not run, and has left nothing behind.")


def check_backups(config: PlatformConfig) -> Iterator[Finding]:
    """When the last backup was made."""
    if not (config.data_dir / "instance.json").exists():
        return
    try:
        record = read_json(config.data_dir / "backup.json") or {}
        made = dt.datetime.fromisoformat(str(record["created"]))
    except (StateFileError, OSError, KeyError, ValueError):
        text = "No backup of this platform was ever made with `nagaya backup create`."
        yield Finding("backup", "warning", text, "docs/how-to/backup.md; call it from cron or a systemd timer.")
        return
    days = (dt.datetime.now(dt.UTC) - made).days
    if days > BACKUP_DAYS:
        yield Finding("backup", "warning", f"The last backup is {days} days old.", "nagaya backup create")
    else:
        yield Finding("backup", "ok", f"The last backup was made at {made:%Y-%m-%d %H:%M} UTC ({record.get('file')}).")


def check_origin(config: PlatformConfig) -> Iterator[Finding]:
    """Whether tenants share one origin in the browser."""
    if getattr(config, "tenant_hosts", None):
        yield Finding("origin", "ok", "Every tenant has a host of its own.")
    else:
        text = (
            "All tenants are paths of one address: SECURITY.md tells what keeps their pages apart, and what does not."
        )
        yield Finding("origin", "notice", text)


CHECKS = (
    check_permissions,
    check_keys,
    check_database,
    check_leftovers,
    check_backups,
    check_origin,
)
