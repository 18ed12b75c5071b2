"""What is counted of inputs at the largest sigma, from made-up certificates."""

from support.study import section, study, table

__all__ = ["study"]  # a fixture


def test_inputs_at_the_largest_sigma_are_counted_and_taken_out(study):
    study.put("fixed-1", [0.6, 0.6, None, None])
    # by default a policy goes to four times the sigma of the training
    study.put("ds-1", [0.9, 0.9, 1.9, None], sigma=[0.3, 1.0, 1.0, 1.0])
    study.put("ds-2", [0.9, 0.9], sigma=[0.3, 0.3])
    lines = table(section(study.tables(), "### At the largest sigma"))
    assert list(lines) == ["Row ds-1"]
    cells = [*lines["Row ds-1"].values()]
    assert len(cells) == 9
    # labels 1, 2, 3; the last one is answered 6
    assert cells[:3] == ["3 of 4", "2", "1"]
    assert cells[3:5] == ["0.750", "0.500"]
    assert cells[5].startswith("+0.000")
    # 0.9, then 0.6, 0 and 0 as with one sigma
    assert cells[6:8] == ["0.925", "0.375"]
    assert cells[8].startswith("+0.075")
