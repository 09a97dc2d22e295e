"""Role assignments, shares, and the compiled policy of each tenant."""
