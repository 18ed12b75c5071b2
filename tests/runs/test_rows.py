from dataclasses import fields

import pytest

from ddrs.proof.certificate import Certificate
from ddrs.runs.rows import CertifiedRow
from support.certified import COLUMNS, certified


def test_a_row_has_the_columns_of_the_table_in_their_order() -> None:
    row = certified(radius=0.1 + 1e-17, correct=False)

    names = [field.name for field in fields(Certificate)]
    written = row.to_row()
    assert [*written] == ["index", "label", "correct", "clean_prediction", *names, "seconds"]
    assert written == COLUMNS | {"radius": 0.1 + 1e-17, "correct": False}
    assert CertifiedRow.from_row(written | {"later": 3}) == row
    assert (row.prediction, row.radius, row.sigma) == (1, 0.1 + 1e-17, 0.25)


@pytest.mark.parametrize("column", ["label", "outcome", "sigma", "votes", "clean_prediction"])
def test_a_missing_column_is_refused(column: str) -> None:
    incomplete = {key: value for key, value in COLUMNS.items() if key != column}

    with pytest.raises((KeyError, TypeError), match=column):
        CertifiedRow.from_row(incomplete)
