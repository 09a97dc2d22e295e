"""What this platform knows about ZenML 0.94.6: its routes, what forks of it must forget, and what is amended in it."""
