"""Operations: listed, read, and followed as server-sent events until they have finished."""

import json
from pathlib import Path

from tests.api.tenants.installation import installation, ready
from tests.api.tenants.runtimes import SlowRuntime


def test_following_an_operation(tmp_path: Path) -> None:
    with installation(tmp_path, SlowRuntime) as api:
        root = api.user("root", superuser=True)
        assert root.http.post("/organizations", json={"name": "acme"}).status_code == 201
        made = root.http.post("/tenants", json={"name": "one", "organization": "acme"})
        operation = made.headers["Nagaya-Operation"]
        seen = []
        with root.http.stream("GET", f"/operations/{operation}/events") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    seen.append(json.loads(line.removeprefix("data: ")))
                    if seen[-1]["phases"][2]["status"] == "running":
                        assert isinstance(api.runtime, SlowRuntime)
                        api.loop.call_soon_threadsafe(api.runtime.released.set)
        assert seen[-1]["status"] == "succeeded"
        ready(root, made.json()["id"])
        listed = root.http.get("/operations", params={"organization": "acme", "tenant": "one", "status": "succeeded"})
        assert [each["id"] for each in listed.json()] == [operation]
        assert root.http.get("/operations", params={"status": "failed"}).json() == []
        again = root.http.get(f"/operations/{operation}/events")
        assert again.text.count("event: operation") == 1
