"""`python -m nagaya.serve <run/config.json>`: the api process, loaded without looking for garbage among modules."""

import gc
import sys


def main() -> int:
    """Loads and runs `nagaya.server`, which collects garbage again once it serves; returns its exit status."""
    # Loading makes some 300,000 objects that all stay: searching them again and again is a tenth of a start.
    gc.disable()
    from nagaya.server import main as run  # noqa: PLC0415 - only now, see above.

    return run()


if __name__ == "__main__":
    sys.exit(main())
