"""nagaya backup: create, verify and restore backups of the platform on this machine."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nagaya.cli.context import Cli, command
from nagaya.cli.errors import CliError, ExitCode
from nagaya.cli.host import make_config, read_settings, stored_config

if TYPE_CHECKING:
    from nagaya.backup.archive import Manifest
    from nagaya.backup.keys import KeyFiles
    from nagaya.runtime.config import PlatformConfig

app = typer.Typer(no_args_is_help=True, help="Backups of the platform on this machine.")
DataDir = Annotated[
    Path | None, typer.Option(help="Directory of everything that the platform keeps.", show_default=False)
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        help="File with the passphrase of the keys; NAGAYA_BACKUP_PASSPHRASE holds as well.", show_default=False
    ),
]
Keys = Annotated[
    Path | None,
    typer.Option(help="A copy of the old `keys` directory (master.key, signing.pem).", show_default=False),
]
FILE_FIELDS = {
    "file": "File",
    "created": "Made",
    "version": "Nagaya",
    "tenants": "Tenants",
    "keys": "Holds keys",
    "authentic": "Authentic",
}


@command(app)
def create(
    cli: Cli,
    file: Annotated[
        Path | None, typer.Argument(help="Where to; default: nagaya-<time>.tar.gz in the current directory.")
    ] = None,
    data_dir: DataDir = None,
    with_keys: Annotated[bool, typer.Option(help="Take the keys along, sealed under a passphrase.")] = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Back up control database, tenants and user ids into one file; the platform goes on meanwhile."""
    from nagaya.backup.create import create as make  # noqa: PLC0415 - few commands need it.
    from nagaya.cli.service_user import as_service  # noqa: PLC0415

    config = _config(data_dir)
    stamp = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    target = Path(os.path.abspath(file or f"nagaya-{stamp}.tar.gz"))  # noqa: PTH100 - links stay as they were written.
    passphrase = _passphrase(passphrase_file, needed=True) if with_keys else None
    os.umask(0o077)

    def with_keys_user(config: PlatformConfig, work: Callable[[], dict[str, str | None]]) -> dict[str, str | None]:
        def guarded() -> dict[str, str | None]:
            with _backup_errors():  # What it says crosses from the child only as an error of the command.
                return work()

        return as_service(config, guarded)

    with _backup_errors():
        manifest, size = make(config, target, with_keys_user, passphrase)
    shown = _described(target, manifest, authentic=True) | {"bytes": size}
    text = f"{target} holds {manifest.tenants} tenants ({size / (1 << 20):.1f} MiB)."
    if not with_keys:
        text += f" It is worth nothing without the keys: keep a copy of {config.data_dir / 'keys'} in another place."
    cli.out.result(text, shown)


@command(app)
def verify(
    cli: Cli,
    file: Annotated[Path, typer.Argument(help="The backup.")],
    keys: Keys = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Read a whole backup and check every byte; with keys or passphrase also that nobody has changed it."""
    from nagaya.backup.restore import check  # noqa: PLC0415

    with _backup_errors():
        checked = check(file, _key_files(keys), _passphrase(passphrase_file))
    shown = _described(file, checked.manifest, authentic=checked.authentic)
    if cli.out.as_json:
        cli.out.json(shown)
        return
    cli.out.item(shown, FILE_FIELDS)
    if not checked.authentic:
        cli.out.note("It is complete. Whether somebody has changed it can only be told with its keys: --keys.")


@command(app)
def restore(
    cli: Cli,
    file: Annotated[Path, typer.Argument(help="The backup.")],
    data_dir: DataDir = None,
    keys: Keys = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Restore a backup into an empty data directory; then start the platform with `nagaya up`."""
    from nagaya.backup.restore import restore as put_back  # noqa: PLC0415
    from nagaya.engines import catalog  # noqa: PLC0415
    from nagaya.supervisor import control  # noqa: PLC0415

    config = make_config(read_settings(data_dir=data_dir))
    if control.running(config):
        message = f"A platform runs on {config.data_dir}; a backup is restored into an empty data directory."
        raise CliError(message, ExitCode.CONFLICT)
    os.umask(0o077)
    with _backup_errors():
        manifest = put_back(config, file, _key_files(keys), _passphrase(passphrase_file))
    installed = {engine.version for engine in catalog.installed(config.engines_dir)}
    missing = [version for version in manifest.engines if version not in installed]
    if missing:
        cli.out.note("These engines are still missing: " + ", ".join(f"nagaya engine install {v}" for v in missing))
    if manifest.public_url != config.public_url:
        cli.out.note(f"The platform was {manifest.public_url}; here it will be {config.public_url}.")
    text = f"Restored {manifest.tenants} tenants into {config.data_dir}. Start it: nagaya up"
    cli.out.result(text, _described(file, manifest, authentic=True) | {"data_dir": str(config.data_dir)})


def _config(data_dir: Path | None) -> PlatformConfig:
    """The platform as it was last started, else as the settings say."""
    settings = read_settings(data_dir=data_dir)
    return stored_config(settings.data_dir) or make_config(settings)


def _described(file: Path, manifest: Manifest, *, authentic: bool) -> dict[str, Any]:
    """The stable shape of `--json`."""
    return {
        "file": str(file),
        "id": manifest.id,
        "created": manifest.created,
        "version": manifest.version,
        "database": manifest.database,
        "tenants": manifest.tenants,
        "keys": manifest.has_keys,
        "authentic": authentic,
    }


def _key_files(directory: Path | None) -> KeyFiles | None:
    from nagaya.backup.keys import KeyFiles  # noqa: PLC0415

    if directory is None:
        return None
    with _backup_errors():
        return KeyFiles.read(directory)


def _passphrase(file: Path | None, *, needed: bool = False) -> str | None:
    """The passphrase from a file, from the environment, or typed where it is needed and somebody can type."""
    if file is not None:
        try:
            return file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise CliError(f"The passphrase file {file} cannot be read: {error}.", ExitCode.USAGE) from error
    if given := os.environ.get("NAGAYA_BACKUP_PASSPHRASE"):
        return given
    if not needed:
        return None
    if not os.isatty(0):
        message = "--with-keys needs a passphrase: NAGAYA_BACKUP_PASSPHRASE or --passphrase-file."
        raise CliError(message, ExitCode.USAGE)
    typed: str = typer.prompt("Passphrase for the keys", hide_input=True, confirmation_prompt=True, err=True)
    return typed


@contextmanager
def _backup_errors() -> Iterator[None]:
    """Turns what backups say into the error of the command."""
    from nagaya.backup.errors import BackupError  # noqa: PLC0415

    try:
        yield
    except BackupError as error:
        raise CliError(str(error), error="BackupError") from error
