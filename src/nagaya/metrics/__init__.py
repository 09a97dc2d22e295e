"""What the platform counts and times: declared in one place, collected by every process, shown by the gateway."""
