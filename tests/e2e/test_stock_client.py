"""The unmodified `zenml` client logs in in every way it knows and runs a pipeline against an isolated tenant."""

import json
from pathlib import Path

import pytest

from harness.approval import Person
from harness.client import PIPELINE, StockClient
from harness.platform import Platform


def log_in(client: StockClient, person: Person, *arguments: str) -> str:
    """Runs `zenml login …` and approves the device in the browser; returns the client's output."""
    process = client.start("zenml", "login", *arguments)
    try:
        answer = person.approve(client.opened_url())
        assert answer.status_code == 200, answer.text
        output, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, output
    return output


def run_pipeline(client: StockClient) -> str:
    """Runs the three-step pipeline and returns the run's id."""
    client.write("pipeline.py", PIPELINE)
    output = client.run("python", "pipeline.py")
    line = next(line for line in output.splitlines() if line.startswith("RUN"))
    assert "completed" in line, output
    return line.split()[1]


def api_key(platform: Platform, admin: str, name: str) -> str:
    """Returns a fresh personal API key of the administrator."""
    caller = platform.api(admin)
    key = caller.expect("POST", "/users/me/api_keys", 201, body={"name": name}).json()["key"]
    caller.close()
    assert key.startswith("ZENPROKEY_")
    return str(key)


def test_login_by_url_lists_and_runs(platform: Platform, person: Person, client: StockClient, admin: str) -> None:
    output = log_in(client, person, f"{platform.url}/t/acme/staging")
    assert "staging" in output
    assert "default" in client.run("zenml", "project", "list")
    client.run("zenml", "project", "set", "default")
    assert "default" in client.run("zenml", "stack", "list")
    run = run_pipeline(client)

    token = platform.tenant_token("staging", admin)
    caller = platform.tenant_caller("staging", token)
    stored = caller.expect("GET", f"/api/v1/runs/{run}").json()
    assert stored["body"]["status"] == "completed"
    models = caller.expect("GET", "/api/v1/models?project=default").json()
    assert "iris" in [model["name"] for model in models["items"]]
    caller.close()

    asleep = sleep(platform)
    assert asleep["state"] == "asleep"
    client.run("zenml", "pipeline", "runs", "list")
    run_pipeline(client)


def test_login_by_name_and_server_list(platform: Platform, person: Person, client: StockClient) -> None:
    client.environment["ZENML_PRO_API_URL"] = f"{platform.url}/api/v1"
    output = log_in(client, person, "staging", "--pro-api-url", f"{platform.url}/api/v1")
    assert "staging" in output
    listing = client.run("zenml", "server", "list")
    assert "staging" in listing
    assert "acme" in listing
    assert platform.url in client.run("zenml", "status")


def test_a_key_in_the_environment_as_in_ci(platform: Platform, client: StockClient, admin: str) -> None:
    key = api_key(platform, admin, "laptop")
    client.environment["ZENML_PRO_API_URL"] = f"{platform.url}/api/v1"
    client.environment |= {"ZENML_STORE_URL": f"{platform.url}/t/acme/staging", "ZENML_STORE_API_KEY": key}
    client.environment["ZENML_ACTIVE_PROJECT_ID"] = project_id(platform, admin)
    assert "default" in client.run("zenml", "stack", "list")
    run_pipeline(client)


def test_login_by_api_key(platform: Platform, client: StockClient, admin: str) -> None:
    key = api_key(platform, admin, "terminal")
    # The command asks for the key on a terminal.
    output = client.on_a_terminal(
        "zenml", "login", "staging", "--pro-api-url", f"{platform.url}/api/v1", "--api-key", answer=key
    )
    assert "Connected to ZenML Pro server" in output, output
    assert key not in output
    client.run("zenml", "project", "set", "default")
    assert "default" in client.run("zenml", "stack", "list")


def test_everything_survives_a_restart(platform: Platform, person: Person, client: StockClient) -> None:
    log_in(client, person, f"{platform.url}/t/acme/staging")
    client.run("zenml", "project", "set", "default")
    platform.stop()
    platform.start()
    assert "default" in client.run("zenml", "stack", "list")
    run_pipeline(client)


def test_a_denied_device_gets_nothing(platform: Platform, person: Person, client: StockClient) -> None:
    process = client.start("zenml", "login", f"{platform.url}/t/acme/staging")
    person.approve(client.opened_url(), decision="deny")
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "denied" in output.lower()


def test_a_key_of_a_removed_service_account_is_refused(platform: Platform, client: StockClient, admin: str) -> None:
    caller = platform.api(admin)
    account = caller.expect("POST", "/organizations/acme/service_accounts", 201, body={"name": "ci-bot"}).json()
    key = caller.expect(
        "POST", f"/organizations/acme/service_accounts/{account['id']}/api_keys", 201, body={"name": "ci"}
    ).json()["key"]
    tenant = caller.expect("GET", "/tenants/acme%2Fstaging").json()
    caller.expect(
        "POST", f"/tenants/{tenant['id']}/members", 201, body={"user": account["id"], "roles": ["tenant_developer"]}
    )
    client.environment |= {
        "ZENML_STORE_URL": f"{platform.url}/t/acme/staging",
        "ZENML_STORE_API_KEY": key,
        "ZENML_PRO_API_URL": f"{platform.url}/api/v1",
        "ZENML_ACTIVE_PROJECT_ID": project_id(platform, admin),
    }
    run_pipeline(client)
    caller.expect("DELETE", f"/organizations/acme/service_accounts/{account['id']}", 204)
    caller.close()
    output = client.run("zenml", "stack", "list", check=False)
    assert "default" not in output, output


def sleep(platform: Platform, tenant: str = "staging") -> dict[str, object]:
    """Puts a tenant to sleep and returns its state."""
    state = next(state for state in platform.keeper("list") if state["tenant"] == tenant)
    platform.keeper("sleep", id=state["id"])
    return dict(platform.keeper("get", id=state["id"]))


def project_id(platform: Platform, admin: str) -> str:
    """Returns the id of the project that the tenant was born with."""
    caller = platform.tenant_caller("staging", platform.tenant_token("staging", admin))
    projects = caller.expect("GET", "/api/v1/projects").json()
    caller.close()
    return str(next(project["id"] for project in projects["items"] if project["name"] == "default"))


@pytest.mark.parametrize("name", ["no-such-tenant", "acme/none"])
def test_an_unknown_name_is_said_clearly(platform: Platform, person: Person, client: StockClient, name: str) -> None:
    client.environment["ZENML_PRO_API_URL"] = f"{platform.url}/api/v1"
    log_in(client, person, f"{platform.url}/t/acme/staging")
    output = client.run("zenml", "login", name, "--pro-api-url", f"{platform.url}/api/v1", check=False)
    # The sentence is the client's own, which it raises as an exception.
    assert f"No ZenML Pro server with the name '{name}' exists" in output


def test_no_secret_reaches_the_logs(platform: Platform, admin: str) -> None:
    key = api_key(platform, admin, "never-logged")
    platform.api().call("POST", "/auth/login", form={"password": key}, token=key)
    texts = [path.read_text(errors="replace") for path in Path(platform.data_dir).rglob("*.log*")]
    assert texts
    assert not [text for text in texts if key in text or admin in text]
    assert not [text for text in texts if json.dumps(key) in text]
