"""Lists in Markdown."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["bullets"]


def bullets(notes: Iterable[str]) -> str:
    """What is said below a table."""
    return "\n\n" + "\n".join(f"- {note}" for note in notes)
