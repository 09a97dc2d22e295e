"""Every test of the project; `python -m tests` (which is what ./run test calls) runs them all."""
