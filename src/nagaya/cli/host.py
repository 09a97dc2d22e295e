"""The platform on this machine: its settings, its stored configuration, and its supervisor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nagaya.cli.errors import CliError, ExitCode

if TYPE_CHECKING:
    from pathlib import Path

    from nagaya.runtime.config import PlatformConfig
    from nagaya.settings import Settings


def read_settings(**overrides: Any) -> Settings:
    """The settings from the environment and the command line.

    Raises:
        CliError: one cannot be used.
    """
    from nagaya.settings import Settings, SettingsError  # noqa: PLC0415  (slow to import; most commands need none)

    try:
        return Settings.read(**overrides)
    except SettingsError as error:
        raise CliError(str(error), ExitCode.USAGE, error="InvalidSettings") from error


def make_config(settings: Settings, *, detach: bool = False) -> PlatformConfig:
    """What the processes share, from the settings.

    Raises:
        CliError: the combination cannot be used.
    """
    from nagaya.settings import SettingsError  # noqa: PLC0415

    try:
        return settings.platform_config(detach=detach)
    except SettingsError as error:
        raise CliError(str(error), ExitCode.USAGE, error="InvalidSettings") from error


def check_certificate(config: PlatformConfig) -> list[str]:
    """What is not good about the TLS certificate, in sentences; nothing without one.

    Raises:
        CliError: it cannot be used.
    """
    if config.tls_certificate is None or config.tls_key is None:
        return []
    from nagaya.tls import CertificateError, shortcomings, wanted_hosts  # noqa: PLC0415  (only with a certificate)

    try:
        hosts = wanted_hosts(config.public_url, config.gateway.get("tenant_hosts"))
        return list(shortcomings(config.tls_certificate, config.tls_key, hosts))
    except CertificateError as error:
        raise CliError(str(error), ExitCode.USAGE, error="InvalidCertificate") from error


def stored_config(data_dir: Path | None = None) -> PlatformConfig | None:
    """The configuration that `nagaya up` last wrote for a data directory (default: that of the settings).

    Returns None when none was ever written, or when this user may not read it.
    """
    import os  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    from nagaya.runtime.config import ConfigError, PlatformConfig, default_run_dir  # noqa: PLC0415
    from nagaya.settings import default_data_dir  # noqa: PLC0415

    directory = data_dir or Path(os.environ.get("NAGAYA_DATA_DIR") or default_data_dir())
    path = default_run_dir(Path(os.path.abspath(directory.expanduser()))) / "config.json"  # noqa: PTH100  (keeps links)
    try:
        return PlatformConfig.load(path) if path.exists() else None
    except (ConfigError, OSError):
        return None
