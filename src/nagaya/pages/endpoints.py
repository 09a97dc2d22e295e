"""The router of all pages."""

from fastapi import APIRouter

from nagaya.pages import account, creation, device, home, invitation, sign_in

router = APIRouter()
for module in (sign_in, account, device, invitation, creation, home):
    router.include_router(module.router)
