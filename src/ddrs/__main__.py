"""`python -m ddrs` is the command `ddrs`."""

from ddrs.cli.commands import main

main()
