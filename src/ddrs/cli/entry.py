"""The way in for a process: Ctrl-C ends it with one line that says what is kept, at any moment.

Little is imported here, so that this holds while the packages of a command are still loaded.
"""

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

__all__ = ["INTERRUPTED", "interruption", "main"]

INTERRUPTED = 130
"""The exit code of a process that Ctrl-C ended: 128 and the number of the signal."""

_GOES_ON = "and the same command goes on from there"
_KEPT = {
    "demo": f"what is finished is kept, {_GOES_ON}",
    "train": f"every epoch that is finished is kept, {_GOES_ON}",
    "certify": f"every input that is certified is kept, {_GOES_ON}",
    "attack": f"every input that is attacked is kept, {_GOES_ON}",
    "memory import": f"every entry that was imported is kept, {_GOES_ON}",
}
_SHOW_CURSOR = "\x1b[?25h"  # a progress bar hides it
_IMPORTING = "<frozen importlib._bootstrap>"


def main() -> None:
    """Run the command line of this process."""
    _fill_closed_streams()
    # A process that was told to ignore Ctrl-C, as by nohup, goes on doing so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        handler = _Interruption(sys.argv[1:])
        signal.signal(signal.SIGINT, handler)
        sys.unraisablehook = handler.unraisable
    sys.excepthook = _traceback
    from ddrs.cli.commands import main as run

    run()


def _fill_closed_streams() -> None:
    """Put nothing in the place of streams that are closed, as by `2>&-`.

    Else a file of a run or a memory would get their number, and what is said would be in it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, so this one


def interruption(words: Sequence[str]) -> str:
    """What an interrupted command says.

    Args:
        words: the command line.
    """
    names = [word for word in words if not word.startswith("-")]
    command = " ".join(names[: 2 if names[:1] == ["memory"] else 1])
    kept = "what was there is kept" if "--dry-run" in words else _KEPT.get(command)
    return f"interrupted; {kept or 'what was there is kept'}"


def _traceback(kind: type[BaseException], error: BaseException, where: object) -> None:
    """Python's hook for errors that nobody caught; what they say may be a stranger's."""
    import traceback

    from ddrs.cli.terminal import say_lines

    say_lines("".join(traceback.format_exception(error)).rstrip("\n"), error=True)


class _Interruption:
    """Answers Ctrl-C: the first time by KeyboardInterrupt, so that everything is tidied up.

    The second time the process ends at once, and so it does where the exception could be lost or
    could turn into another one: while a module is loaded, and where Python cannot raise it. Files
    and stores are whole at any moment, so nothing is lost by that.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        self._before = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._before or _is_importing(frame):
            self._leave()
        self._before = True
        raise KeyboardInterrupt

    def unraisable(self, error: "UnraisableHookArgs") -> None:
        """Python's hook for exceptions that it cannot raise."""
        if issubclass(error.exc_type, KeyboardInterrupt):
            self._leave()
        sys.__unraisablehook__(error)

    def _leave(self) -> None:
        # Written as bytes: what was interrupted may hold the lock of Python's own streams.
        cursor = _SHOW_CURSOR if os.isatty(2) else ""
        os.write(2, f"{cursor}{interruption(self._words)}\n".encode())
        os._exit(INTERRUPTED)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            return True
        frame = frame.f_back
    return False
