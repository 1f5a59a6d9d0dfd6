"""Run the command line: ``python -m activations_xp``."""

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
