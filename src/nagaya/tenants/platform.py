"""What the endpoints and the background work of tenants share in one api process."""

import os
import re
import secrets
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends

from nagaya.access.compiler import Issuer
from nagaya.errors import InvalidInput, Unavailable
from nagaya.http.settings import TenantDefaults
from nagaya.http.state import State
from nagaya.rbac.policies import Policies
from nagaya.runtime.interface import Runtime
from nagaya.tenants.secrets import TenantSecrets
from nagaya.tenants.spec import Addresses

EXTRA = "tenants"
"""Name of the platform among the extras of the application's state."""


@dataclass
class Engines:
    """The ZenML versions that can host tenants, as the runtime last named them.

    Args:
        default: The version of new tenants; the newest installed one if None.
        versions: What is installed; empty until the runtime was heard.
        described: What the runtime says about each of them.
    """

    default: str | None = None
    versions: tuple[str, ...] = ()
    described: dict[str, dict[str, Any]] = field(default_factory=dict)

    def learn(self, told: dict[str, Any]) -> None:
        """Takes in the runtime's answer to `hello`, or its event `engines`."""
        self.described = {str(each["version"]): each for each in told.get("engines", ())}
        self.versions = tuple(sorted(self.described, key=_version_key))

    def usable(self, version: str) -> bool:
        """Whether new tenants can be made with an installed version."""
        return self.described.get(version, {}).get("state") != "damaged"

    @property
    def chosen(self) -> str | None:
        """The version that a tenant gets when nobody says which; None before the runtime was heard."""
        usable = [version for version in self.versions if self.usable(version)] or list(self.versions)
        return self.default if self.default in usable or not usable else usable[-1]

    def choose(self, wanted: str | None) -> str:
        """Returns the version for a new tenant.

        Raises:
            InvalidInput: The wanted version is not installed, or damaged; the message lists what can be used.
            Unavailable: The runtime did not say yet what is installed, and no default is configured.
        """
        if not self.versions:
            chosen = wanted or self.default
            if chosen is None or chosen != self.default:
                raise Unavailable(
                    "It is not known at the moment which ZenML versions are installed, because the keeper does not "
                    "answer; try again in a moment."
                )
            return chosen
        chosen = wanted or self.chosen
        usable = [version for version in self.versions if self.usable(version)]
        if chosen is None or chosen not in usable:
            state = "damaged" if chosen in self.versions else "not installed"
            use = f"use one of {', '.join(usable)}" if usable else "ask whoever runs this platform"
            sentence = f"ZenML {chosen} is {state} here: {use}."
            raise InvalidInput(sentence, fields={"version": sentence})
        return chosen


@dataclass(frozen=True)
class TenantPlatform:
    """The fixed parts.

    Args:
        runtime: Runs tenants.
        secrets: Makes and opens tenants' secrets.
        addresses: Where things are reached.
        issuer: Who signs tokens.
        policies: Compiled policies, for servers that ask over HTTP.
        engines: Installed ZenML versions.
        anyone_may_create_organizations: Whether every user may make an organization, not only superusers.
        defaults: What a tenant gets that nobody decided otherwise for.
        owner: Name of this process in leases.
        liveness_seconds: Time between two looks at an enrolled server.
        lease_seconds: After so long another process may take over work that this one does not renew.
    """

    runtime: Runtime
    secrets: TenantSecrets
    addresses: Addresses
    issuer: Issuer
    policies: Policies
    engines: Engines = field(default_factory=Engines)
    anyone_may_create_organizations: bool = False
    defaults: TenantDefaults = field(default_factory=TenantDefaults)
    owner: str = field(default_factory=lambda: f"{os.getpid()}-{secrets.token_hex(6)}")
    liveness_seconds: int = 60
    lease_seconds: float = 6.0


def platform_of(state: State) -> TenantPlatform:
    """Returns the platform that the application was made with."""
    platform: TenantPlatform = state.extras[EXTRA]
    return platform


Platform = Annotated[TenantPlatform, Depends(platform_of)]


def _version_key(version: str) -> tuple[tuple[int, int, str], ...]:
    """Orders versions by their numbers; text sorts before numbers, so that 1.0rc1 comes before 1.0.0."""
    parts = re.findall(r"\d+|[a-z]+", version.lower())
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts)
