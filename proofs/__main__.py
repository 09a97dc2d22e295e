"""Runs one proof by name."""

import argparse
import importlib
import sys

PROOFS = {
    "fuzz": "generated requests to the Cloud API, and to two tenants beside a plain ZenML server",
    "kill": "kill -9 of every process while a pipeline runs and while a tenant is being created",
    "scale": "1,000 tenants registered and 100 awake: restarts, idle processor time, lists, memory, wake of all",
    "rows": "lists, search and explanations on 10,000 tenants and 100,000 memberships, on both databases",
}


def main() -> int:
    """Runs what the command line names; returns the proof's exit code."""
    parser = argparse.ArgumentParser(prog="./run prove", description=__doc__)
    parser.add_argument(
        "name", choices=sorted(PROOFS), help="; ".join(f"{name}: {text}" for name, text in PROOFS.items())
    )
    parser.add_argument("--smoke", action="store_true", help="the short form that CI runs (at most a minute)")
    parser.add_argument("--seed", type=int, default=1, help="seed of whatever is random")
    choices = ("sqlite", "postgresql", "both")
    parser.add_argument("--database", choices=choices, default="both", help="of `rows`: on which database")
    arguments = parser.parse_args()
    options = {"database": arguments.database} if arguments.name == "rows" else {}
    module = importlib.import_module(f"proofs.{arguments.name}")
    return int(module.run(smoke=arguments.smoke, seed=arguments.seed, **options))


if __name__ == "__main__":
    sys.exit(main())
