"""`python -m vitascope.cli`."""

from vitascope.cli import main

main()
