"""What this platform knows about ZenML 0.98.0: its routes, and what forks of it must forget."""
