"""`python -m ddrs` is the command `ddrs`."""

from ddrs.cli import main

main()
