"""HTTP endpoints of identity, one module per kind of thing."""

from nagaya.http.routing import Routes
from nagaya.identity.endpoints import api_keys, auth, devices, me, server, service_accounts, users

router = Routes()
for module in (auth, devices, me, api_keys, users, service_accounts, server):
    router.include(module.router)
