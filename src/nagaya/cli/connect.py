"""The lines that connect a stock ZenML client to a tenant, as `nagaya up` and `nagaya tenant connect` print them."""

from __future__ import annotations


def connection_lines(server_url: str, public_url: str, version: str | None = None) -> list[str]:
    """Shell lines for a person's machine, and for continuous integration.

    Args:
        server_url: The tenant's address.
        public_url: The platform's address, without a trailing slash.
        version: ZenML version of the tenant; the client should have the same.

    `zenml login` finds the platform by itself, from the address of the tenant. A key in the environment does not:
    without ZENML_PRO_API_URL (and without a trailing slash in it) the stock client would send the key elsewhere.
    """
    package = f'"zenml[local]=={version}"' if version else '"zenml[local]"'
    return [
        "# On your machine:",
        f"pip install {package}",
        f"zenml login {server_url}",
        "",
        "# In continuous integration, with a key of `nagaya token create`:",
        f"export ZENML_STORE_URL={server_url}",
        "export ZENML_STORE_API_KEY=ZENPROKEY_...",
        f"export ZENML_PRO_API_URL={public_url}/api/v1",
    ]
