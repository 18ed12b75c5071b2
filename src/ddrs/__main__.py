"""`python -m ddrs` is the command `ddrs`."""

from ddrs.cli.entry import main

main()
