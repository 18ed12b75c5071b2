"""Foreign text: names, paths, digests and messages that strangers' files may have chosen.

What shows text to people passes it through here, so that it can neither steer a terminal, reorder
a line, fill a screen, add columns or tags, nor become a formula.
"""

import re

__all__ = ["LONGEST_LINE", "csv_text", "markdown_text", "visible"]

LONGEST_LINE = 2000
"""Characters of one line that are shown."""
LONGEST_CELL = 200
"""Characters of a text in a table that are shown."""

# A formula begins with one of these, also in their wide forms.
_FORMULA = "=+-@＝＋－＠"
# What begins a tag, a link, a cell or code, and a backslash that would take one of them back.
_MARKUP = re.compile(r"\\(?=[!-/:-@\[-`{-~])|[|<\[`]")


def visible(text: str, longest: int | None = LONGEST_LINE) -> str:
    r"""Text on one line, in which nothing is hidden.

    Whatever is no letter, mark, digit, sign or plain space is written as Python writes it: an
    escape as `\x1b`, a line break as `\n`, an override of the direction as `\u202e`. Text that
    looks like this already stays as it is.

    Args:
        text: any text.
        longest: the most characters that are shown; of a longer text the middle is left out.
    """
    if not text.isprintable():
        text = "".join(
            each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
        )
    if longest is None or len(text) <= longest:
        return text
    half = (longest - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def markdown_text(text: str, longest: int | None = LONGEST_CELL) -> str:
    """Text for a page of Markdown: visible, its white space collapsed, without tags and links."""
    return _MARKUP.sub(r"\\\g<0>", visible(" ".join(text.split()), longest))


def csv_text(text: str) -> str:
    """Text for a cell of CSV: visible, and behind a `'` where a spreadsheet would calculate it."""
    shown = visible(text, LONGEST_CELL)
    return f"'{shown}" if shown.lstrip().startswith(tuple(_FORMULA)) else shown
