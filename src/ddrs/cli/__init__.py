"""The command line: thin commands over the library.

Exit codes: 0 done, 1 failed (or an audit found a violation), 2 wrong usage, 130 interrupted.
"""

from ddrs.cli.entry import main

__all__ = ["main"]
