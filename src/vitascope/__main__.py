"""`vitascope`, and `python -m vitascope`."""

import sys


def main() -> None:
    """The command line; Ctrl-C while it is still being imported is no error either."""
    try:
        from vitascope.cli import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
