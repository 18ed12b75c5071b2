from pathlib import Path

from PIL import Image

from ddrs.demo import POLICIES, run_demo
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
