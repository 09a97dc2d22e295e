"""Signing in and out: password, API key, browser; what is kept, and where."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nagaya.cli.credentials import Credential, Credentials, credentials_path
from tests.cli.conftest import Nagaya
from tests.cli.platform import KEY, PASSWORD, TOKEN, MemoryPlatform

Serve = Callable[[MemoryPlatform], MemoryPlatform]


def stored(url: str) -> Credential:
    return Credentials.load().platforms[url]


def test_password_from_standard_input(nagaya: Nagaya, serve: Serve) -> None:
    platform = serve(MemoryPlatform())
    result = nagaya("login", platform.url, "--email", "ada@example.com", input=PASSWORD + "\n")
    assert result.code == 0, result.err
    assert f"Signed in to {platform.url} as ada@example.com." in result.out
    assert stored(platform.url).token == TOKEN
    assert PASSWORD not in credentials_path().read_text()


def test_the_credentials_file_is_closed_to_others(nagaya: Nagaya, serve: Serve, empty_home: Path) -> None:
    platform = serve(MemoryPlatform())
    nagaya("login", platform.url, "--email", "ada@example.com", input=PASSWORD)
    path = credentials_path()
    assert path == empty_home / ".config" / "nagaya" / "credentials.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_wrong_password_is_forbidden_and_keeps_nothing(nagaya: Nagaya, serve: Serve) -> None:
    platform = serve(MemoryPlatform())
    result = nagaya("login", platform.url, "--email", "ada@example.com", input="wrong\n")
    assert result.code == 4
    assert "The credentials are not valid." in result.err
    assert not credentials_path().exists()


def test_an_empty_password_is_a_usage_error(nagaya: Nagaya, serve: Serve) -> None:
    platform = serve(MemoryPlatform())
    assert nagaya("login", platform.url, "--email", "ada@example.com").code == 2


def test_an_api_key_is_kept_and_exchanged_again_when_its_token_has_expired(nagaya: Nagaya, serve: Serve) -> None:
    platform = serve(MemoryPlatform())
    assert nagaya("login", platform.url, "--api-key", input=KEY).code == 0
    assert stored(platform.url).api_key == KEY
    Credentials.load().put(platform.url, Credential("old", time.time() + 5, KEY))
    assert nagaya("whoami").code == 0
    fresh = stored(platform.url)
    assert (fresh.token, fresh.api_key) == (TOKEN, KEY)


def test_an_expired_token_says_how_to_sign_in(nagaya: Nagaya, serve: Serve) -> None:
    platform = serve(MemoryPlatform())
    Credentials.load().put(platform.url, Credential("old", time.time() - 5))
    result = nagaya("whoami")
    assert result.code == 4
    assert f"Your sign-in has expired at {platform.url}. Sign in: nagaya login {platform.url}" in result.err


def test_a_key_in_the_environment_needs_no_login(nagaya: Nagaya, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    platform = serve(MemoryPlatform())
    monkeypatch.setenv("NAGAYA_URL", platform.url + "/")
    monkeypatch.setenv("NAGAYA_API_KEY", KEY)
    assert nagaya("whoami", "--json").json["username"] == "ada"
    assert not credentials_path().exists()


@pytest.mark.parametrize("answers", [["authorization_pending", "approved"], ["approved"]])
def test_the_browser_approves(nagaya: Nagaya, serve: Serve, answers: list[str]) -> None:
    platform = serve(MemoryPlatform())
    platform.device_answers = answers
    result = nagaya("login", platform.url)
    assert result.code == 0, result.err
    assert f"{platform.url}/device?code=ABCD-EFGH" in result.err
    assert "ABCD-EFGH." in result.err


def test_the_browser_denies(nagaya: Nagaya, serve: Serve) -> None:
    platform = serve(MemoryPlatform())
    platform.device_answers = ["access_denied"]
    result = nagaya("login", platform.url, "--device")
    assert result.code == 2
    assert "access_denied" in result.err


def test_nobody_approves(nagaya: Nagaya, serve: Serve) -> None:
    platform = serve(MemoryPlatform())
    platform.device_answers = ["authorization_pending"] * 1000
    result = nagaya("login", platform.url)
    assert result.code == 4
    assert "Nobody approved" in result.err


def test_logout_ends_the_session_and_forgets(nagaya: Nagaya, platform: MemoryPlatform) -> None:
    result = nagaya("logout", "--json")
    assert result.json == {"url": platform.url, "signed_out": True}
    assert ("POST", "/auth/logout", None) in platform.requests
    assert Credentials.load() == Credentials()
    assert nagaya("logout", "--url", platform.url).out.startswith("You were not signed in")


def test_logout_forgets_even_when_the_platform_is_gone(nagaya: Nagaya) -> None:
    Credentials.load().put("http://127.0.0.1:1", Credential(TOKEN))
    result = nagaya("logout")
    assert result.code == 0
    assert "could not be ended" in result.err
    assert Credentials.load() == Credentials()


def test_two_ways_to_sign_in_at_once_are_refused(nagaya: Nagaya) -> None:
    assert nagaya("login", "http://127.0.0.1:1", "--api-key", "--email", "a@b").code == 2
    assert nagaya("login", "http://127.0.0.1:1", "--email", "").code == 2


def test_damaged_credentials_say_what_to_do(nagaya: Nagaya) -> None:
    credentials_path().parent.mkdir(parents=True)
    credentials_path().write_text(json.dumps(["what"]))
    result = nagaya("whoami")
    assert result.code == 1
    assert "remove it and sign in again" in result.err


def test_credentials_that_cannot_be_stored(nagaya: Nagaya, serve: Serve, empty_home: Path) -> None:
    (empty_home / ".config").write_text("a file, not a directory")
    platform = serve(MemoryPlatform())
    result = nagaya("login", platform.url, "--api-key", input=KEY)
    assert result.code == 1
    assert "Credentials cannot be" in result.err


def test_without_a_platform_the_command_asks_for_one(nagaya: Nagaya) -> None:
    result = nagaya("whoami")
    assert result.code == 2
    assert "--url or NAGAYA_URL" in result.err


def test_an_address_without_a_scheme_is_refused(nagaya: Nagaya) -> None:
    result = nagaya("login", "zenml.example.com")
    assert result.code == 2
    assert "http://" in result.err
