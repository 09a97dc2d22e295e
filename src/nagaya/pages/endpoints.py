"""The router of all pages."""

from fastapi import APIRouter

from nagaya.pages import account, creation, device, home, invitation, links, sign_in

router = APIRouter()
for module in (sign_in, account, device, invitation, creation, home, links):
    router.include_router(module.router)
