"""The control plane's own database: engine, sessions, base class, migrations, signals and leases."""
