"""What runs inside a tenant's ZenML process: guard, access control, channel, and the zygote that forks it."""
