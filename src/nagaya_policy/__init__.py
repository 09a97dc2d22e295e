"""The policy engine: pure functions over a policy document, standard library only."""
