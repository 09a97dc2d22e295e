"""A page of tenants takes the same few statements however long it is, and never reads what it does not show."""

from sqlalchemy import event

from tests.api.world import Settled


def statements(settled: Settled) -> list[str]:
    """Lists all tenants; returns the SELECTs that it took."""
    seen: list[str] = []
    engine = settled.world.state.database.engine

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("SELECT"):
            seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        listed = settled.world.made("GET", "/tenants", settled.root)
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert all(tenant["operation"]["kind"] and tenant["organization"]["name"] == "acme" for tenant in listed)
    return seen


def test_a_page_takes_few_statements_and_no_secrets(settled: Settled) -> None:
    one = statements(settled)
    for number in range(12):
        settled.world.made("POST", "/tenants", settled.admin, json={"name": f"more-{number}", "organization": "acme"})
    many = statements(settled)
    assert len(many) == len(one) <= 7
    for secret in ("jwt_secret", "secrets_store_key", "channel_token", "client_secret"):
        assert not [statement for statement in many if secret in statement]
