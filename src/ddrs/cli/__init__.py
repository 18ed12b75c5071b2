"""The command line: thin commands over the library.

Exit codes: 0 done, 1 failed (or an audit found a violation), 2 wrong usage.
"""

from ddrs.cli.commands import app, main

__all__ = ["app", "main"]
