import pytest

from ddrs.display.markdown import table


def test_columns_line_up_to_the_letter() -> None:
    rows = [["fixed", "first", "360", "0.412"], ["a longer name", "all", "5", "0.5"]]
    assert table(["run", "selection", "inputs", "ACR"], rows, left=2).splitlines() == [
        "| run           | selection | inputs |   ACR |",
        "| :------------ | :-------- | -----: | ----: |",
        "| fixed         | first     |    360 | 0.412 |",
        "| a longer name | all       |      5 |   0.5 |",
    ]


@pytest.mark.parametrize(
    ("left", "rule"),
    [(0, "| -: | -: |"), (1, "| :- | -: |"), (2, "| :- | :- |")],
)
def test_the_first_columns_are_flush_left_and_a_rule_has_its_dash(left: int, rule: str) -> None:
    assert table(["a", ""], [["1", "2"]], left=left).splitlines()[1] == rule


def test_the_first_column_alone_is_flush_left_by_default() -> None:
    assert table(["name", "n"], [["x", "10"], ["y", "9"]]).splitlines()[-1] == "| y    |  9 |"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a|b", r"a\|b"), ("two\nlines", "two lines"), (" spaces  and\ttabs ", "spaces and tabs")],
)
def test_a_cell_is_one_line_that_ends_no_column(text: str, shown: str) -> None:
    lines = table(["name"], [[text], ["another, longer text"]]).splitlines()
    assert lines[2] == f"| {shown.ljust(20)} |"
    assert len({len(line) for line in lines}) == 1


def test_a_wide_table_is_not_folded() -> None:
    assert len(table(["name"], [["x" * 3000]]).splitlines()) == 3


def test_without_rows_there_is_a_header() -> None:
    assert table(["name", "n"], []) == "| name |  n |\n| :--- | -: |"


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        table(["name", "n"], [["only one"]])
