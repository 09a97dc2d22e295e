"""How tenants run: the interface that the api uses, the settings of one host, and the local implementation."""
