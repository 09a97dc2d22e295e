"""The secrets of one tenant: made at its creation and sealed at once; opened only to compare or to hand on."""

import hmac
import secrets
import uuid
from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from nagaya.crypto import associated_data
from nagaya.tenants.models import Tenant

SECRET_BYTES = 32
COLUMNS = {
    "jwt": "jwt_secret",
    "secrets_store": "secrets_store_key",
    "channel": "channel_token",
    "client": "client_secret",
}
"""Columns of `tenants` by the name that the tenant specification gives each secret."""


class Sealer(Hashable, Protocol):
    """Seals texts under the master key (`nagaya.crypto`)."""

    def seal(self, plaintext: str, associated: bytes) -> str:
        """Returns the envelope of a text."""
        ...

    def open(self, envelope: str, associated: bytes) -> str:
        """Returns the text of an envelope; raises `CryptoError`."""
        ...


@dataclass(frozen=True, slots=True)
class TenantSecrets:
    """Makes and opens the secrets of tenants.

    Args:
        sealer: The platform's keys.
    """

    sealer: Sealer

    def generate(self, tenant_id: uuid.UUID) -> dict[str, str]:
        """Returns fresh, sealed secrets by column."""
        return {
            column: self.sealer.seal(secrets.token_hex(SECRET_BYTES), self._bound(name, tenant_id))
            for name, column in COLUMNS.items()
        }

    def matches(self, tenant: Tenant, name: str, presented: str) -> bool:
        """Compares, in constant time, what a caller presented with a tenant's secret.

        Args:
            tenant: The tenant.
            name: `channel` or `client`.
            presented: What the caller sent.
        """
        envelope = getattr(tenant, COLUMNS[name])
        if not envelope:
            return False  # Enrolled and purged tenants have none.
        known = _open(self.sealer, envelope, self._bound(name, tenant.id))
        return hmac.compare_digest(known.encode(), presented.encode("utf-8", "surrogatepass"))

    @staticmethod
    def _bound(name: str, tenant_id: uuid.UUID) -> bytes:
        return associated_data("tenants", name, str(tenant_id))


@lru_cache(maxsize=4096)
def _open(sealer: Sealer, envelope: str, associated: bytes) -> str:
    """Opens an envelope, or remembers what was in it: channel and server calls come by the hundred."""
    return sealer.open(envelope, associated)
