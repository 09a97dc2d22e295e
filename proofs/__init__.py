"""Long proofs: bounded, on loopback, printing what they found; `./run prove NAME [--smoke]`."""
