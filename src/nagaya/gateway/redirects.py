"""Where requests belong that came to the wrong place: another host, plain HTTP, a path with a slash too many."""

from __future__ import annotations

from nagaya.gateway.answers import GatewayError, Reply, redirect
from nagaya.gateway.browser import Hosts
from nagaya.gateway.request import Request
from nagaya.gateway.targets import Target, parse_target


def better_address(request: Request, target: Target, host: bytes, hosts: Hosts) -> Reply | None:
    """Send a browser to the address that it should use; None if it is there already.

    Raises `GatewayError` where a program comes by a wrong one: what it sent along must not be sent once more to where
    an answer says, and it would do the same the next time.
    """
    if hosts.must_be_secure(request):
        return to_https(request, host, hosts)
    if target.by_host:
        return None
    if request.wants_html and not hosts.is_public(host):
        return redirect(hosts.public_url + request.target.decode("ascii"), 307)
    if not hosts.is_allowed(host):
        raise GatewayError(421, "MisdirectedRequest", f"This host is not served here; use {hosts.public_url}.")
    if request.wants_html and not target.organization and len(target.path) > 1 and target.path.endswith(b"/"):
        query = target.forward[len(target.path) :]
        # With the origin in front: a path that begins with two slashes would be read as a host.
        return redirect((hosts.public_url.encode() + target.path.rstrip(b"/") + query).decode("ascii"), 308)
    return None


def to_https(request: Request, host: bytes, hosts: Hosts) -> Reply:
    """Send a reader from plain HTTP to the same place over TLS: a tenant's own host, or else the public URL.

    Raises `GatewayError` (403) for writes: their content and credentials have already crossed the network readably, and
    whoever sent them should hear of it instead of doing so for ever.
    """
    owner = hosts.owner(host, any_port=True)
    origin = hosts.public_url if owner is None else hosts.origin_of(*owner)
    parse_target(request.target, owner)
    if request.method not in {b"GET", b"HEAD"}:
        sentence = f"Plain HTTP is not spoken here; use {origin}, and replace credentials that were sent this way."
        raise GatewayError(403, "IllegalOperationError", sentence, close=True)
    return redirect(origin + request.target.decode("ascii"), 308)
