"""A process group of one process, for wrappers that insist on one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import distributed


@contextmanager
def process_group(folder: Path) -> Iterator[None]:
    """One process with gloo. Drop what was wrapped inside of it.

    A wrapped model that goes last takes the group along and waits, holding the interpreter, for
    the group's thread, which at times waits for the interpreter: about one run in thirty hung.
    """
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'store'}", rank=0, world_size=1
    )
    try:
        yield
    finally:
        distributed.destroy_process_group()
