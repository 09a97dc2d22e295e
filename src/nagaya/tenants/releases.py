"""HTTP: the ZenML versions that new tenants can have."""

from typing import Annotated

from fastapi import Path
from pydantic import Field

from nagaya.errors import NotFound
from nagaya.http.lists import Paging
from nagaya.http.routing import Routes
from nagaya.http.schemas import Output
from nagaya.identity.policy import CurrentPrincipal
from nagaya.tenants.platform import Platform

SERVICE = "zenml"
"""The one service that tenants are made of; clients may ask for releases of it by this name."""
router = Routes(prefix="/releases", tags=["releases"])


class ReleaseRead(Output):
    """A version that can be chosen for a new tenant."""

    service: str
    version: str
    default: bool = Field(description="Whether tenants get it whose creator does not say.")


@router.get("")
def list_releases(_principal: CurrentPrincipal, platform: Platform, page: Paging) -> list[ReleaseRead]:
    """Lists the ZenML versions that are installed here, the newest first."""
    versions = list(reversed(platform.engines.versions))
    preferred = platform.engines.chosen
    page.announce(len(versions))
    return [
        ReleaseRead(service=SERVICE, version=each, default=each == preferred)
        for each in versions[page.offset : page.offset + page.limit]
    ]


@router.get("/{service}")
def list_releases_of_service(
    service: Annotated[str, Path(max_length=64)], principal: CurrentPrincipal, platform: Platform, page: Paging
) -> list[ReleaseRead]:
    """Lists the same for one service; there is one, `zenml`."""
    if service != SERVICE:
        raise NotFound(f"There is no service {service!r}: tenants are made of {SERVICE}.")
    return list_releases(principal, platform, page)
