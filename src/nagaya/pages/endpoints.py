"""The router of all pages."""

from fastapi import APIRouter

from nagaya.pages import account, device, home, sign_in

router = APIRouter()
for module in (sign_in, account, device, home):
    router.include_router(module.router)
