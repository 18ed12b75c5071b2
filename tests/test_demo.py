from pathlib import Path

import pytest
from PIL import Image

from ddrs.demo import POLICIES, run_demo
from ddrs.errors import RunError
from ddrs.finished.audit import audit_run


def test_the_demo_makes_a_table_a_figure_and_sound_runs(tmp_path: Path) -> None:
    made = run_demo(tmp_path, epochs=2, limit=6)
    lines = made.table_file.read_text().splitlines()
    assert made.table in made.table_file.read_text()
    for policy in POLICIES:
        assert any(policy in line for line in lines)
        report = audit_run(tmp_path / policy)
        assert report.ok, report.violations
        assert report.entries == 6
    with Image.open(made.figure_file) as figure:
        assert figure.width >= 1000
    again = run_demo(tmp_path, epochs=2, limit=6)
    assert again.table == made.table


@pytest.mark.parametrize("name", ["table.md", "certified_accuracy.png"])
def test_the_demo_overwrites_nothing_that_it_has_not_made(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(RunError, match=f"{name} was not made by the demonstration"):
        run_demo(tmp_path, epochs=2, limit=6)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"
