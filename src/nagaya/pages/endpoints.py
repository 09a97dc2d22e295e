"""The router of all pages."""

from nagaya.http.routing import Routes
from nagaya.pages import account, creation, device, home, invitation, links, sign_in

router = Routes()
for module in (sign_in, account, device, invitation, creation, home, links):
    router.include(module.router)
