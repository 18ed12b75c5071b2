"""Help texts, tables and `import ddrs` load no library that they do not need."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "accelerate", "datasets", "matplotlib", "pandas", "pyarrow", "scipy", "sklearn", "sqlalchemy",
    "torch", "transformers",
}  # fmt: skip
COMMANDS = [
    [],
    *(
        [name]
        for name in (
            "demo",
            "train",
            "certify",
            "calibrate",
            "attack",
            "table",
            "report",
            "audit",
            "memory",
        )
    ),
    *(["memory", name] for name in ("stats", "export", "import")),
]
LOADED_BY_HELP = {
    "annotated_doc", "lazy_loader", "markdown_it", "mdurl", "numpy", "pygments", "rich",
    "shellingham", "typer",
}  # fmt: skip
LOG = "idx\tlabel\tpredict\tradius\tcorrect\ttime\n0\t3\t3\t0.61\t1\t0:00:13.5\n"

CARRY_OUT = """
import json, sys
before = set(sys.modules)
{code}
loaded = {{name.partition(".")[0] for name in set(sys.modules) - before}}
# without what compiled modules put there that is no module of a file
found = [name for name in loaded - set(sys.stdlib_module_names) if sys.modules[name].__spec__]
print(json.dumps([name for name in found if not name.startswith("_")]), file=sys.stderr)
"""
COMMAND = """
from ddrs.cli.commands import main
try:
    main({words!r})
except SystemExit as exit_:
    assert not exit_.code
"""


def loaded(code: str, folder: Path) -> set[str]:
    """The packages that are not of the standard library and that a new process loads."""
    done = subprocess.run(
        [sys.executable, "-c", CARRY_OUT.format(code=code)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1])) - {"ddrs"}


def test_help_loads_these_packages_and_no_others(tmp_path: Path) -> None:
    assert loaded(COMMAND.format(words=["--help"]), tmp_path) == LOADED_BY_HELP


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_help_text_loads_a_heavy_package(words: list[str], tmp_path: Path) -> None:
    assert not loaded(COMMAND.format(words=[*words, "--help"]), tmp_path) & HEAVY


def test_wrong_usage_is_told_without_a_heavy_package(tmp_path: Path) -> None:
    words = ["certify", "--data", "digits", "--model", "m", "--steps", "3", "--out", "run"]
    code = COMMAND.format(words=words).replace("not exit_.code", "exit_.code == 2")
    assert not loaded(code, tmp_path) & HEAVY


def test_a_table_of_logs_needs_scipy_alone(tmp_path: Path) -> None:
    (tmp_path / "log.tsv").write_text(LOG)
    assert loaded(COMMAND.format(words=["table", "log.tsv"]), tmp_path) & HEAVY <= {"scipy"}


def test_a_report_of_logs_needs_no_network_and_no_database(tmp_path: Path) -> None:
    (tmp_path / "log.tsv").write_text(LOG)
    code = COMMAND.format(words=["report", "log.tsv", "--out", "page.html"])
    assert loaded(code, tmp_path) & HEAVY <= {"scipy", "matplotlib"}
    assert (tmp_path / "page.html").exists()


@pytest.mark.parametrize("code", ["import ddrs", "import ddrs; assert 'Memory' in dir(ddrs)"])
def test_import_ddrs_loads_nothing_until_a_name_is_used(code: str, tmp_path: Path) -> None:
    assert not loaded(code, tmp_path) & (HEAVY | {"numpy"})
