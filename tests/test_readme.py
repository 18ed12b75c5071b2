"""What README and docs show works: Python runs, commands and links are there."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from ddrs.cli.commands import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [README, *(path.read_text() for path in sorted((ROOT / "docs").glob("*.md")))]
COMMANDS = [
    line for page in PAGES for line in page.splitlines() if re.match(r"ddrs (?!COMMAND)\w", line)
]


def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(code, {})
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert (tmp_path / "memory.db").exists()


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) >= 14


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_has_the_options_that_are_shown(line: str) -> None:
    line = line.replace("...", "--data digits --model runs/model")  # what the text around it says
    _, name, *words = shlex.split(line)
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    if name == "memory":
        name, *words = words
        command = command.commands[name]
    command.make_context(name, words)  # raises on an unknown option or a missing one


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_make_has_the_targets_that_are_named() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`?make (\w+)", README)) - {"it"}:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
