"""HTTP: the installed ZenML versions. Only whoever runs the machine installs and removes them (`nagaya engine`)."""

from nagaya.engines.schemas import EngineRead
from nagaya.http.lists import Paging
from nagaya.http.routing import Routes
from nagaya.http.transactions import Db, TransactionRoute
from nagaya.identity.policy import CurrentPrincipal
from nagaya.tenants import repository
from nagaya.tenants.platform import Platform

router = Routes(prefix="/engines", tags=["engines"], route_class=TransactionRoute)


@router.get("")
def list_engines(principal: CurrentPrincipal, db: Db, platform: Platform, page: Paging) -> list[EngineRead]:
    """Lists the ZenML versions that are installed here, oldest first."""
    engines = platform.engines
    page.announce(len(engines.versions))
    counts = repository.count_by_version(db) if principal.superuser else None
    return [
        EngineRead(
            version=version,
            state="ready" if engines.usable(version) else "damaged",
            mode="plain" if engines.described[version].get("mode") == "plain" else "zygote",
            default=version == engines.chosen,
            tenants=None if counts is None else counts.get(version, 0),
            reason=(engines.described[version].get("reason") or None) if principal.superuser else None,
        )
        for version in engines.versions[page.offset : page.offset + page.limit]
    ]
