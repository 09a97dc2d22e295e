"""Runs one proof by name."""

import argparse
import importlib
import sys

PROOFS = {
    "fuzz": "generated requests to the Cloud API, and to two tenants beside a plain ZenML server",
    "kill": "kill -9 of every process while a pipeline runs and while a tenant is being created",
}


def main() -> int:
    """Runs what the command line names; returns the proof's exit code."""
    parser = argparse.ArgumentParser(prog="./run prove", description=__doc__)
    parser.add_argument(
        "name", choices=sorted(PROOFS), help="; ".join(f"{name}: {text}" for name, text in PROOFS.items())
    )
    parser.add_argument("--smoke", action="store_true", help="the short form that CI runs (at most a minute)")
    parser.add_argument("--seed", type=int, default=1, help="seed of whatever is random")
    arguments = parser.parse_args()
    return int(importlib.import_module(f"proofs.{arguments.name}").run(smoke=arguments.smoke, seed=arguments.seed))


if __name__ == "__main__":
    sys.exit(main())
