"""HTTP endpoints of identity, one module per kind of thing."""

from fastapi import APIRouter

from nagaya.identity.endpoints import api_keys, auth, devices, me, server, service_accounts, users

router = APIRouter()
for module in (auth, devices, me, api_keys, users, service_accounts, server):
    router.include_router(module.router)
