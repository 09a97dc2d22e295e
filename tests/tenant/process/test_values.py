"""Settings, environment and OpenAPI rendering: the small pure parts."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest

from nagaya_tenant import openapi_document, profile
from nagaya_tenant.settings import SettingsError, TenantSettings
from nagaya_tenant.spawn import SpawnOrder

ENVIRONMENT = {
    "NAGAYA_TENANT_ID": "7b4c3a6e-0000-4000-8000-000000000001",
    "NAGAYA_ORGANIZATION_ID": "7b4c3a6e-0000-4000-8000-000000000002",
    "NAGAYA_PUBLIC_URL": "http://127.0.0.1:8440/",
    "NAGAYA_ROOT_PATH": "/t/acme/staging",
    "NAGAYA_CHANNEL_SOCKET": "/run/channel.sock",
    "NAGAYA_CHANNEL_TOKEN": "very-secret",
    "NAGAYA_SYSTEM_USER_ID": "7b4c3a6e-0000-4000-8000-000000000003",
    "NAGAYA_OUTBOX": "/d/outbox.db",
}


def test_settings() -> None:
    settings = TenantSettings.from_environment(ENVIRONMENT)
    assert settings.tenant_id == UUID(ENVIRONMENT["NAGAYA_TENANT_ID"])
    assert settings.public_url == "http://127.0.0.1:8440"
    assert settings.policy_max_age == 86_400
    assert settings.outbox == Path("/d/outbox.db")
    assert "very-secret" not in repr(settings)
    assert TenantSettings.from_environment(ENVIRONMENT | {"NAGAYA_POLICY_MAX_AGE": "0"}).policy_max_age == 0


@pytest.mark.parametrize("name", sorted(set(ENVIRONMENT) - {"NAGAYA_ROOT_PATH"}))
def test_missing_setting_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} is not set"):
        TenantSettings.from_environment({key: value for key, value in ENVIRONMENT.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NAGAYA_TENANT_ID", "seven"),
        ("NAGAYA_POLICY_MAX_AGE", "-1"),
        ("NAGAYA_POLICY_MAX_AGE", "1.5"),
        ("NAGAYA_ROOT_PATH", "t/a"),
        ("NAGAYA_ROOT_PATH", "/t/a/"),
    ],
)
def test_wrong_setting_is_named_without_its_value(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as caught:
        TenantSettings.from_environment(ENVIRONMENT | {name: value})
    assert value not in str(caught.value).replace("must be a whole number of seconds, 0 or more", "")


def test_tenant_environment_replaces_everything_but_the_locale() -> None:
    environ = {"PATH": "/bin", "HOME": "/root", "AWS_SECRET_ACCESS_KEY": "leak", "ZENML_STORE_URL": "theirs"}
    profile.use_tenant(environ, {"ZENML_STORE_URL": "ours"})
    assert environ == {"PATH": "/bin", "ZENML_STORE_URL": "ours", **profile.FLEET}


def test_placeholders_hide_the_hosts_own_zenml() -> None:
    environ = {"PATH": "/bin", "ZENML_STORE_URL": "theirs", "OTEL_SERVICE_NAME": "x", "NAGAYA_TENANT_ID": "y"}
    profile.use_placeholders(environ)
    assert environ == {"PATH": "/bin", **profile.FLEET, **profile.PLACEHOLDERS}


def test_redaction_covers_every_secret_variable() -> None:
    environment = {
        "ZENML_SERVER_JWT_SECRET_KEY": "aaaaaaaa",
        "NAGAYA_CHANNEL_TOKEN": "bbbbbbbb",
        "NAGAYA_OUTBOX": "/d/o",
    }
    text = json.dumps({"cmd": "spawn", "name": "n", "dir": "/d", "log": "/d/l", "uid": None, "env": environment})
    order = SpawnOrder.from_json(text)
    assert order.redact("x aaaaaaaa bbbbbbbb /d/o") == "x *** *** /d/o"
    assert "aaaaaaaa" not in repr(order)


@pytest.mark.parametrize(
    ("prefix", "server", "token"), [("/t/acme/b", "/t/acme/b", "/t/acme/b/login"), ("", "/", "/login")]
)
def test_openapi_prefix(monkeypatch: pytest.MonkeyPatch, prefix: str, server: str, token: str) -> None:
    built = b'{"servers":[{"url":"@nagaya-server@"}],"tokenUrl":"@nagaya-prefix@/login"}'
    monkeypatch.setattr(openapi_document, "_document", built)
    assert openapi_document.prebuilt() == built
    assert json.loads(openapi_document.render(prefix)) == {"servers": [{"url": server}], "tokenUrl": token}


def test_what_the_installation_described_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stored = tmp_path / "openapi.json"
    monkeypatch.setattr(openapi_document, "INSTALLED", stored)
    monkeypatch.setattr(openapi_document, "_build", lambda: b"built")
    for content, expected in (
        (b'{"servers":[{"url":"@nagaya-server@"}]}', b'{"servers":[{"url":"@nagaya-server@"}]}'),
        (b'{"servers":[{"url":"@nagaya-server@"', b"built"),
        (None, b"built"),
    ):
        monkeypatch.setattr(openapi_document, "_document", None)
        stored.unlink(missing_ok=True)
        if content is not None:
            stored.write_bytes(content)
        assert openapi_document.build() == expected
