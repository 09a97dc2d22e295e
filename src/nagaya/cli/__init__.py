"""The command line `nagaya`: starts a platform, and talks to one over its public API."""
