"""Who makes a request, once authenticated."""

import uuid
from dataclasses import dataclass
from typing import Literal

PrincipalKind = Literal["user", "service_account"]
CredentialKind = Literal["browser", "password", "device", "api_key"]


@dataclass(frozen=True)
class Principal:
    """A person or a service account.

    Args:
        id: Id of the user or service account.
        kind: Which of the two.
        username: Unique over the whole platform, never given away again.
        email: A person's address; None for service accounts.
        name: Name to show.
        superuser: Whether every right is given.
        session_id: Id of the session (`sid`); None for a raw API key.
        organization_id: The organization of a service account.
        credential: How the session began.
    """

    id: uuid.UUID
    kind: PrincipalKind
    username: str
    email: str | None
    name: str
    superuser: bool
    session_id: uuid.UUID | None
    organization_id: uuid.UUID | None = None
    credential: CredentialKind = "password"


@dataclass(frozen=True)
class Server:
    """A tenant's ZenML server, authenticated with its client secret.

    Args:
        tenant_id: Id of the tenant.
        organization_id: Id of its organization.
        name: Name of the tenant.
        enrolled: Whether it runs outside of the platform.
    """

    tenant_id: uuid.UUID
    organization_id: uuid.UUID
    name: str
    enrolled: bool
