"""Long actions with phases that clients can follow."""
