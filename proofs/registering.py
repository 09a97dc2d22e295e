"""Registers many tenants at once: the service functions of `POST /tenants`, without the starts that follow it."""

from pathlib import Path

from sqlalchemy import select

from nagaya.access.policy import reach_organization
from nagaya.app_state import create_state
from nagaya.cli.service_user import as_service
from nagaya.http.settings import ApiSettings
from nagaya.http.transactions import UnitOfWork
from nagaya.identity.models import User
from nagaya.identity.principal import Principal
from nagaya.runtime.config import PlatformConfig
from nagaya.tenants import observation
from nagaya.tenants.assembly import create_control
from nagaya.tenants.lifecycle import Event
from nagaya.tenants.schemas import TenantCreate
from nagaya.tenants.service import Tenants

BATCH = 100


def register(config_path: Path, organization: str, names: list[str]) -> None:
    """Makes tenants that are asleep, as if each had been created, started once and put to sleep.

    Their databases are made at their first wake. A running platform takes them over as it does what another api process
    has written.

    Args:
        config_path: `run/config.json` of the platform.
        organization: Name of the organization that gets them.
        names: Their names.
    """
    config = PlatformConfig.load(config_path)

    def make() -> dict[str, str | None]:
        state = create_state(ApiSettings.from_platform(config))
        platform = create_control(config, state).platform
        for start in range(0, len(names), BATCH):
            with UnitOfWork(state.database) as work:
                now = state.now()
                owner = work.session.scalars(select(User).where(User.is_superuser.is_(True))).first()
                assert owner is not None
                principal = Principal(owner.id, "user", owner.username, owner.email, owner.name, True, None)
                access = reach_organization(work.session, principal, organization, now)
                service = Tenants(work, platform, now)
                for name in names[start : start + BATCH]:
                    tenant, _ = service.create(access, TenantCreate(name=name, protected=False))
                    observation.move(work, tenant, Event.READY, "", now)
        state.database.close()
        return {}

    as_service(config, make)
