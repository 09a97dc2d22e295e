"""nagaya engine: what is listed, what is removed, and what stays."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from nagaya.db.engine import Database, database_url
from nagaya.db.migrate import upgrade
from nagaya.http.transactions import UnitOfWork
from nagaya.organizations.models import Organization
from nagaya.tenants.models import Tenant
from tests.cli.conftest import Nagaya
from tests.runtime.support import FakeEngine


def add_tenants(session: Session) -> None:
    """Tenants of 0.94.6: one that sleeps, one that can be restored, one that is gone for good."""
    acme = Organization(name="acme", display_name="acme")
    session.add(acme)
    session.flush()
    now = dt.datetime.now(dt.UTC)
    sealed = {"jwt_secret": "-", "secrets_store_key": "-", "channel_token": "-", "client_secret": "-"}
    for name, desired, purged in (
        ("asleep", "available", None),
        ("deleted", "deleted", None),
        ("purged", "deleted", now),
    ):
        session.add(
            Tenant(
                organization_id=acme.id,
                name=name,
                display_name=name,
                version="0.94.6",
                desired_state=desired,
                status=desired,
                purged=purged,
                **sealed,
            )
        )
    session.flush()


def test_engines_are_listed_with_their_state(nagaya: Nagaya, tmp_path: Path) -> None:
    assert [row["state"] for row in nagaya("engine", "list", "--json").json] == ["available", "available"]
    engine = FakeEngine(tmp_path / "data" / "engines", "0.98.0")
    (tmp_path / "data" / "engines" / "0.94.6").mkdir()
    rows = nagaya("engine", "list", "--json").json
    assert [(row["version"], row["state"], row["default"]) for row in rows] == [
        ("0.94.6", "damaged", False),
        ("0.98.0", "outdated", True),
    ]
    shown = nagaya("engine", "list", "--check")
    assert str(engine.directory) in shown.out
    assert "Repair it: nagaya engine install 0.94.6 --repair" in shown.err
    assert "Renew it: nagaya engine install 0.98.0" in shown.err


def test_an_engine_that_nobody_needs_is_removed(nagaya: Nagaya, tmp_path: Path) -> None:
    engines = tmp_path / "data" / "engines"
    FakeEngine(engines, "0.94.6")
    FakeEngine(engines, "0.98.0")
    assert nagaya("engine", "remove", "0.94.6", input="n\n").code == 1
    assert "0.98.0 is the default engine" in nagaya("engine", "remove", "0.98.0", "-y").err
    assert "is not installed here; installed: 0.94.6, 0.98.0" in nagaya("engine", "remove", "0.1.2", "-y").err
    assert "The engine 0.94.6 has been removed" in nagaya("engine", "remove", "0.94.6", "-y").out
    assert [path.name for path in engines.iterdir() if path.is_dir()] == ["0.98.0"]


def test_an_engine_that_tenants_need_stays(nagaya: Nagaya, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    FakeEngine(data / "engines", "0.94.6")
    monkeypatch.setenv("NAGAYA_SEPARATE_USERS", "no")
    (data / "control").mkdir()
    database = Database(database_url(data, None))
    upgrade(database)
    with UnitOfWork(database) as work:
        add_tenants(work.session)
    database.close()
    result = nagaya("engine", "remove", "0.94.6", "-y")
    assert result.code == 1
    assert "The engine 0.94.6 is in use by acme/asleep, acme/deleted." in result.err


def test_an_unknown_engine_names_the_known_ones(nagaya: Nagaya) -> None:
    result = nagaya("engine", "install", "0.1.2")
    assert result.code == 1
    assert "There is no engine 0.1.2; this version of Nagaya knows 0.94.6, 0.98.0" in result.err
