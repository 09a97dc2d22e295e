"""A forked tenant answers exactly like a plainly started one on a copy of the same database."""

from __future__ import annotations

import re
import shutil
import signal
from typing import TYPE_CHECKING

from launcher import NETWORK_ATTEMPT

from harness import DEADLINE, Answer, Tenant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness import Zygote

PATHS = (
    "/openapi.json",
    "/",
    "/ready",
    "/health",
    "/docs",
    "/metrics",
    "/favicon.svg",
    "/some/page",
    "/api/v1/info",
    "/api/v1/version",
    "/api/v1/nothing-here",
    "/api/v1/settings",
    "/api/v1/current-user",
    "/api/v1/users?hydrate=true",
    "/api/v1/projects?hydrate=true",
    "/api/v1/projects/default",
    "/api/v1/stacks?hydrate=true",
    "/api/v1/stacks?size=abc",
    "/api/v1/stacks/00000000-0000-4000-8000-000000000000",
    "/api/v1/components?hydrate=true",
    "/api/v1/flavors?size=100&hydrate=true",
    "/api/v1/service_connector_types",
    "/api/v1/service_accounts",
    "/api/v1/secrets",
    "/api/v1/tags?hydrate=true",
    "/api/v1/statistics",
    "/api/v1/pipelines",
    "/api/v1/pipelines?project=default",
    "/api/v1/runs?project=default",
    "/api/v1/models?project=default",
    "/api/v1/schedules?project=default",
    "/api/v1/onboarding_state",
)
VOLATILE_HEADERS = {"date", "etag", "last-modified", "x-request-id"}
VOLATILE_MEMBERS = re.compile(rb'"(last_user_activity|last_login|request_id)":\s*"[^"]*"')


def test_forked_and_plain_answer_alike(
    zygote: Zygote, new_tenant: Callable[..., Tenant], open_directory: Path, template: Path
) -> None:
    forked = new_tenant(uid=None)
    assert forked.start(zygote)["ready"]
    token = forked.token()
    forked.request("/api/v1/tags", method="POST", token=token, body={"name": "one", "exclusive": False, "color": "red"})
    forked.stop(zygote)

    other_root = open_directory / "plain"
    other_root.mkdir()
    same = {"id": forked.id, "jwt_key": forked.jwt_key, "secrets_key": forked.secrets_key, "name": forked.name}
    plain = Tenant(
        root=other_root,
        platform=forked.platform,
        template=template,
        system_user=forked.system_user,
        project=forked.project,
        **same,
    )
    shutil.copyfile(forked.database, plain.database)
    process, line = plain.start_plain()
    try:
        assert line["ready"], (line, plain.log())
        assert forked.start(zygote)["ready"]
        different = [
            (path, bool(bearer), a.status, b.status, a.body[:300], b.body[:300])
            for path in PATHS
            for bearer in ("", token)
            if comparable(a := forked.request(path, token=bearer)) != comparable(b := plain.request(path, token=bearer))
        ]
        assert different == []
        assert plain.request("/api/v1/current-user", token=token).status == 200
        assert plain.request("/api/v1/current-user", token=plain.sign_in()).status == 200
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(DEADLINE)
    assert status == 0
    assert not list(plain.directory.glob("zenml.db-*"))
    assert NETWORK_ATTEMPT not in plain.log()
    forked.stop(zygote)
    plain.close()


def comparable(answer: Answer) -> object:
    """An answer without what differs between any two requests."""
    headers = {name: value for name, value in answer.headers.items() if name not in VOLATILE_HEADERS}
    return answer.status, headers, VOLATILE_MEMBERS.sub(b"", answer.body)
