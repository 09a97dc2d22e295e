"""Settings: defaults, the environment, what is refused and how; what the processes get."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from nagaya.runtime.config import PlatformConfig
from nagaya.settings import Settings, SettingsError, default_data_dir
from tests.cli.conftest import Nagaya


def read(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(f"NAGAYA_{name}", value)
    return Settings.read()


def refusal(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read(monkeypatch, **variables)
    return str(caught.value)


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.read()
    assert (settings.host, settings.port, settings.address) == ("127.0.0.1", 8440, "http://127.0.0.1:8440")
    assert (settings.idle_seconds, settings.policy_max_age) == (900, 86400)
    assert (settings.session_seconds, settings.device_seconds) == (43200, 86400)
    assert (settings.service_uid, settings.tenant_uids) == (199990, (200000, 299999))


def test_the_command_line_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAGAYA_PORT", "1234")
    assert Settings.read(port=None).port == 1234
    assert Settings.read(port=4321).port == 4321


def test_a_mistyped_variable_is_refused_with_what_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    text = refusal(monkeypatch, PROT="1", QQQQQQ="2")
    assert "NAGAYA_PROT is not a setting of Nagaya. Did you mean NAGAYA_PORT" in text
    assert "NAGAYA_QQQQQQ is not a setting of Nagaya. docs/reference/settings.md" in text


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PORT", "http", "NAGAYA_PORT cannot be used: input should be a valid integer"),
        ("PORT", "70000", "NAGAYA_PORT cannot be used"),
        ("PUBLIC_URL", "zenml.example.com", "must be an http or https address"),
        ("PUBLIC_URL", "https://zenml.example.com/path", "must not have a path"),
        ("TENANT_UIDS", "3-2", "must be a range of user ids"),
        ("TENANT_UIDS", "many", "must be a range of user ids"),
        ("TENANT_UIDS", "1000-200000", "must lie outside NAGAYA_TENANT_UIDS"),
        ("SEPARATE_USERS", "maybe", "NAGAYA_SEPARATE_USERS cannot be used"),
        ("ADMIN_EMAIL", "ada", "NAGAYA_ADMIN_EMAIL cannot be used"),
        ("IDLE_SECONDS", "0", "NAGAYA_IDLE_SECONDS cannot be used"),
    ],
)
def test_unusable_values_name_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    assert sentence in refusal(monkeypatch, **{name: value})


def test_secrets_never_show(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, ADMIN_PASSWORD="a long secret", DATABASE_URL="postgresql://u:hidden@h/d")
    assert "a long secret" not in repr(settings)
    assert "hidden" not in repr(settings)
    text = refusal(monkeypatch, ADMIN_PASSWORD="short")
    assert "NAGAYA_ADMIN_PASSWORD cannot be used" in text
    assert "'short'" not in text


def test_a_public_url_loses_its_slash(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, PUBLIC_URL="https://zenml.example.com/").address == "https://zenml.example.com"


def test_separate_users_need_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "needs root" in refusal(monkeypatch, SEPARATE_USERS="yes")
    monkeypatch.delenv("NAGAYA_SEPARATE_USERS")
    assert not Settings.read().users_are_separate
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert Settings.read().users_are_separate
    assert not read(monkeypatch, SEPARATE_USERS="no").users_are_separate


def test_the_data_directory_depends_on_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_data_dir() == Path("/var/lib/nagaya")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert default_data_dir() == tmp_path / "home" / ".local" / "share" / "nagaya"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert default_data_dir() == tmp_path / "xdg" / "nagaya"


def test_the_processes_get_the_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = read(
        monkeypatch,
        DATABASE_URL="postgresql://u:p@h/d",
        ENGINES_DIR=str(tmp_path / "engines"),
        WAKE_TIMEOUT="7",
        SEPARATE_USERS="no",
        PORT="9000",
    )
    config = settings.platform_config(detach=True)
    assert isinstance(config, PlatformConfig)
    assert config.database_url == "postgresql://u:p@h/d"
    assert (config.engines_dir, config.ready_timeout) == (tmp_path / "engines", 7.0)
    assert (config.service_uid, config.tenant_uids) == (None, None)
    assert (config.port, config.public_url, config.detach) == (9000, "http://127.0.0.1:9000", True)


def test_separate_users_reach_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    config = read(monkeypatch, TENANT_UIDS="300000-300009").platform_config()
    assert (config.service_uid, config.tenant_uids) == (199990, (300000, 300009))


NETWORK = {
    "PUBLIC_URL": "https://zenml.example.com",
    "TLS_CERTIFICATE": "chain.pem",
    "TLS_KEY": "key.pem",
    "HTTP_REDIRECT_PORT": "8080",
    "TENANT_HOSTS": "{tenant}--{organization}.zenml.example.com",
    "TRUSTED_PROXIES": "10.0.0.0/8, 192.0.2.1,",
}


def test_the_network_reaches_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    config = read(monkeypatch, **NETWORK, ADDRESS_RATE="7.5", PRINCIPAL_BURST="9").platform_config()
    assert config.tls_certificate == Path("chain.pem").absolute()
    assert config.tls_key == Path("key.pem").absolute()
    assert config.redirect_port == 8080
    assert config.api["tenant_hosts"] == config.gateway["tenant_hosts"] == NETWORK["TENANT_HOSTS"]
    assert config.gateway["trusted_proxies"] == ("10.0.0.0/8", "192.0.2.1")
    assert config.gateway["address_rate"] == 7.5
    assert config.api["principal_burst"] == config.gateway["credential_burst"] == 9


def test_with_a_certificate_the_address_is_https(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, TLS_CERTIFICATE="chain.pem", TLS_KEY="key.pem")
    assert settings.address == "https://127.0.0.1:8440"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"TLS_KEY": ""}, "NAGAYA_TLS_CERTIFICATE and NAGAYA_TLS_KEY belong together"),
        ({"PUBLIC_URL": "http://zenml.example.com"}, "NAGAYA_PUBLIC_URL must begin with https://"),
        ({"HTTP_REDIRECT_PORT": "8440"}, "must differ from NAGAYA_PORT"),
        ({"TENANT_HOSTS": "{tenant}-{organization}.zenml.example.com"}, "NAGAYA_TENANT_HOSTS cannot be used: na"),
        ({"TENANT_HOSTS": "{tenant}.zenml.example.com"}, "the field {organization} must occur exactly once"),
        ({"TENANT_HOSTS": "{tenant}--{organization}.x.com", "PUBLIC_URL": "https://ab--cd.x.com"}, "covers the host"),
        ({"TRUSTED_PROXIES": "10.0.0.0/8,nginx"}, "NAGAYA_TRUSTED_PROXIES cannot be used: 'nginx' is no address"),
        ({"FORWARDED_FAMILY": "cf"}, "NAGAYA_FORWARDED_FAMILY cannot be used"),
        ({"TLS_CERTIFICATE": "", "TLS_KEY": "", "PUBLIC_URL": ""}, "NAGAYA_HTTP_REDIRECT_PORT needs a public URL"),
    ],
)  # fmt: skip
def test_a_network_that_cannot_be(monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(says)):
        read(monkeypatch, **(NETWORK | changed))


def test_the_command_refuses_bad_settings_as_usage(nagaya: Nagaya, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAGAYA_PROT", "1")
    result = nagaya("up")
    assert result.code == 2
    assert "Did you mean NAGAYA_PORT" in result.err
