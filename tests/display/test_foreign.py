import csv
import io
import re

import pytest

from ddrs.display.foreign import LONGEST_LINE, csv_text, markdown_text, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, é, 数, -1.5e-3 ≤ x", "plain text, é, 数, -1.5e-3 ≤ x"),
        ("\x1b[2J\x1b[1A", r"\x1b[2J\x1b[1A"),
        ("\x9b1A", r"\x9b1A"),
        ("a\rb\nc\td\x08\x7f\x00", r"a\rb\nc\td\x08\x7f\x00"),
        ("\u202egnp.exe\u2066", r"\u202egnp.exe\u2066"),
        ("a\u2028b\u00adc\u200bd\ufeff", r"a\u2028b\xadc\u200bd\ufeff"),
        ("\udcff", r"\udcff"),
        ("\U000e0041", r"\U000e0041"),  # a tag character, which is nothing to see
        (r"C:\x1b", r"C:\x1b"),
    ],
)
def test_nothing_is_hidden(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(shown) == shown


def test_no_character_of_unicode_steers_a_terminal() -> None:
    every = "".join(map(chr, [*range(0x10000), *range(0xE0000, 0xE0200)]))
    shown = visible(every, None)
    assert shown.isprintable()
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]", shown)


@pytest.mark.parametrize("longest", [10, 11, LONGEST_LINE])
def test_of_a_long_text_both_ends_are_shown(longest: int) -> None:
    shown = visible("begin" + "x" * 10**6 + "end", longest)
    assert longest - 1 <= len(shown) <= longest
    assert shown.startswith("begi")
    assert shown.endswith("end")
    assert visible("x" * longest, longest) == "x" * longest


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a_b*c", "a_b*c"),
        ("a|b", r"a\|b"),
        (r"a\|b", r"a\\\|b"),  # or the backslash would take back ours
        ("<script>", r"\<script>"),
        ("[x](http://e)", r"\[x](http://e)"),
        ("`x`", r"\`x\`"),
        ("\x1b", r"\x1b"),
        ("two\n lines", "two lines"),
    ],
)
def test_markdown_has_no_tag_link_or_further_cell(text: str, shown: str) -> None:
    assert markdown_text(text) == shown


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "＝", "＠", "\t=", "\r=", " =", "\x1b="])
def test_no_cell_is_a_formula(first: str) -> None:
    text = csv_text(f"{first}cmd|' /C calc'!A0")
    file = io.StringIO()
    csv.writer(file).writerow([text, 1])
    (row,) = csv.reader(io.StringIO(file.getvalue()))
    assert row[0].isprintable()
    assert row[0].lstrip()[0] in ("'", "\\")


def test_other_cells_are_as_they_are() -> None:
    assert csv_text("search, 2") == "search, 2"
