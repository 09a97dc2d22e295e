"""Imports every module with tables, so that `Base.metadata` is complete."""

from nagaya.access import models as access
from nagaya.audit import models as audit
from nagaya.db import signals
from nagaya.db.base import Base
from nagaya.identity import models as identity
from nagaya.invitations import models as invitations
from nagaya.operations import models as operations
from nagaya.organizations import models as organizations
from nagaya.teams import models as teams
from nagaya.tenants import models as tenants

metadata = Base.metadata

__all__ = [
    "access",
    "audit",
    "identity",
    "invitations",
    "metadata",
    "operations",
    "organizations",
    "signals",
    "teams",
    "tenants",
]
