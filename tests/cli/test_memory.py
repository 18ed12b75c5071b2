import re
import shlex
import sqlite3
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer

from ddrs.cli.commands import app, main
from ddrs.cli.memory import app as memory_app
from ddrs.errors import StoreError
from ddrs.memory import transfer
from ddrs.memory.audit import AuditReport
from ddrs.memory.memory import Memory
from ddrs.memory.transfer import Export
from support import toy

ROOT = Path(__file__).parents[2]
COMMANDS = [
    command.name or command.callback.__name__  # type: ignore[union-attr]
    for command in memory_app.registered_commands
]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    with pytest.raises(SystemExit) as exit_:
        main(list(words))
    captured = capsys.readouterr()
    return int(exit_.value.code or 0), captured.out, captured.err


@pytest.fixture
def certify(tmp_path: Path) -> list[str]:
    """The words of a `ddrs certify` command, without its memory and its directory."""
    data = toy.write_inputs(tmp_path / "data.npz")
    words = ["certify", "--data", data, "--model", "py:support.toy:linear", "--sigma", "0.5"]
    return [*words, "--policy", "search", "--n", "400", "--seed", "1"]


@pytest.fixture
def url(certify: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The memory of a run."""
    url = f"sqlite:///{tmp_path}/m.db"
    assert run(capsys, *certify, "--memory", url, "--out", str(tmp_path / "run"))[0] == 0
    return url


def test_the_commands() -> None:
    assert COMMANDS == ["stats", "export", "import"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_text_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "memory", command, "--help")
    assert code == 0
    assert f"ddrs memory {command}" in out.split("Example:")[1]


def test_stats_export_and_import(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, stats, err = run(capsys, "memory", "stats", url)
    assert code == 0
    assert stats.startswith(f"{url}\n\n| class | entries |")
    assert "100%" in err
    with Memory(url, read_only=True) as memory:
        count, abstained = len(memory), len(list(memory.abstentions()))
    assert abstained
    assert f"head: {count} entries, chain " in stats
    assert f"head of the abstentions: {abstained}, chain " in stats
    file, new = tmp_path / "m.parquet", f"sqlite:///{tmp_path}/new.db"
    assert run(capsys, "memory", "export", url, "--out", str(file))[:2] == (
        0,
        f"{file}: {count} entries, {abstained} abstentions\n",
    )
    assert pq.read_metadata(file).num_rows == count + abstained
    code, out, err = run(capsys, "memory", "import", str(file), "--memory", new)
    assert (code, out) == (0, f"{new}: {count} entries, {abstained} abstentions\n")
    assert "100%" in err
    assert run(capsys, "memory", "stats", new)[1].splitlines()[1:] == stats.splitlines()[1:]
    assert run(capsys, "audit", new)[0] == 0


def test_looking_writes_nothing(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (tmp_path / "m.db").read_bytes()
    run(capsys, "memory", "stats", url)
    run(capsys, "memory", "export", url, "--out", str(tmp_path / "m.parquet"))
    assert (tmp_path / "m.db").read_bytes() == before


def test_an_import_into_a_memory_with_other_entries_is_refused(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "m.parquet"
    run(capsys, "memory", "export", url, "--out", str(file))
    other = f"sqlite:///{tmp_path}/other.db"
    with Memory(other) as memory:
        memory.resolve([0.0], 1, 1.0)
    code, _, err = run(capsys, "memory", "import", str(file), "--memory", other)
    assert code == 1
    assert "import it into a new memory" in err
    with Memory(other) as memory:
        assert [entry.claimed_radius for entry in memory.entries()] == [1.0]


def test_a_failed_import_leaves_no_new_memory(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "m.parquet"
    run(capsys, "memory", "export", url, "--out", str(file))
    table = pq.read_table(file)
    radii = pa.array([2 * (radius or 0.0) for radius in table["claimed_radius"].to_pylist()])
    place = table.column_names.index("claimed_radius")
    pq.write_table(table.set_column(place, table.schema.field(place), radii), file)
    before = sorted(tmp_path.iterdir())
    code, _, err = run(
        capsys, "memory", "import", str(file), "--memory", f"sqlite:///{tmp_path}/n.db"
    )
    assert code == 1
    assert "m.parquet" in err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("error", "there", "kept"),
    [
        (StoreError("the disk is full"), False, False),
        (StoreError("the disk is full"), True, True),
        (KeyboardInterrupt(), False, True),  # it can be gone on with
    ],
)
def test_an_import_that_fails_half_way_leaves_no_new_memory_either(
    error: BaseException,
    there: bool,
    kept: bool,
    url: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file, store = tmp_path / "m.parquet", tmp_path / "n.db"
    run(capsys, "memory", "export", url, "--out", str(file))

    def fails(export: Export, memory: Memory, _: object) -> None:
        memory.resolve(np.zeros((2, 3)), 1, 1.0)
        raise error

    if there:
        with Memory(f"sqlite:///{store}"):
            pass
    monkeypatch.setattr(transfer, "fill", fails)
    code, _, err = run(capsys, "memory", "import", str(file), "--memory", f"sqlite:///{store}")
    assert code == (130 if isinstance(error, KeyboardInterrupt) else 1)
    assert err
    assert store.exists() is kept
    assert kept or not list(tmp_path.glob("n.db*"))


def test_a_damaged_memory_is_one_clear_line(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(tmp_path / "m.db") as connection:
        connection.execute("UPDATE inputs SET x = x'00' WHERE id = 2")
    for words in (["stats", url], ["export", url, "--out", str(tmp_path / "m.parquet")]):
        code, _, err = run(capsys, "memory", *words)
        assert code == 1
        assert "entry 2 of the memory is damaged" in err.splitlines()[-1]
    assert not list(tmp_path.glob("m.parquet*"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--precision", "bf16"], "another model"),
        (["--noise", "uniform"], "made for l2"),
        (["--precision", "bf16", "--read-only"], "another model"),
    ],
)
def test_the_memory_of_another_classifier_is_refused(
    url: str,
    certify: list[str],
    changes: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = (tmp_path / "m.db").read_bytes()
    out = ["--out", str(tmp_path / "other")]
    code, _, err = run(capsys, *certify, "--memory", url, *changes, *out)
    assert code == 1
    assert message in err
    assert (tmp_path / "m.db").read_bytes() == before


def test_certifying_read_only_says_what_was_not_recorded(
    url: str, certify: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (tmp_path / "m.db").read_bytes()
    words = [*certify, "--memory", url, "--read-only", "--out", str(tmp_path / "all")]
    code, _, err = run(capsys, *words)
    assert code == 0
    assert "read-only memory" not in err  # each input is stored
    certify[2] = toy.write_inputs(tmp_path / "other.npz", seed=8)
    words = [*certify, "--memory", url, "--read-only", "--out", str(tmp_path / "some")]
    code, _, err = run(capsys, *words)
    assert code == 0
    assert re.search(r"note: \d+ inputs are in no region of the read-only memory", err)
    assert (tmp_path / "m.db").read_bytes() == before
    for name in ("all", "some"):
        code, out, _ = run(capsys, "audit", str(tmp_path / name), "--memory", url)
        assert code == 0, out


def test_a_relative_memory_is_found_from_elsewhere(
    certify: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(capsys, *certify, "--memory", "sqlite:///rel.db", "--out", "run")[0] == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    words = ["audit", str(tmp_path / "run")]
    assert run(capsys, *words, "--memory", f"sqlite:///{tmp_path}/rel.db")[0] == 0
    code, _, err = run(capsys, *words, "--memory", "sqlite:///rel.db")  # that is another file
    assert code == 2
    assert "does not have the memory that was named" in err
    code, out, _ = run(capsys, *words)
    assert (code, out.splitlines()[-1]) == (0, f"{tmp_path}/run: 12 entries, sound")
    config = tmp_path / "run" / "config.json"
    config.write_text(
        config.read_text().replace(f"sqlite:///{tmp_path}/rel.db", "postgresql://a/b")
    )
    code, out, _ = run(capsys, *words)
    assert (code, out.splitlines()[-1]) == (
        1,
        f"{tmp_path}/run: 12 entries, sound but for its memory, a server that was not connected "
        "to: name it with --memory URL",
    )


def test_no_password_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def audit(url: str) -> AuditReport:
        asked.append(url)
        return AuditReport((), 0)

    monkeypatch.setattr("ddrs.finished.audit.audit_memory", audit)
    url = "postgresql://me:secret@host/db?sslmode=require&password=secret"
    assert run(capsys, "audit", url) == (
        0,
        "postgresql://me@host/db?sslmode=require: 0 entries, sound\n",
        "",
    )
    assert asked == [url]


def test_orders_are_shown_after_the_audit(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = str(tmp_path / "run")
    audit = ["audit", target, "--memory", url]
    code, out, err = run(capsys, *audit, "--orders", "3", "--seed", "5")
    assert code == 0
    assert f"\n{target}: 12 entries, sound\n\n| certified accuracy |" in out
    assert "3 shuffled orders, seed 5. Of 12 inputs, " in out
    assert "100%" in err
    with sqlite3.connect(tmp_path / "m.db") as connection:
        connection.execute("UPDATE regions SET radius = 2 * radius WHERE id = 1")
    code, out, _ = run(capsys, *audit, "--orders", "3")
    assert code == 1  # the audit's
    assert "violation: " in out
    assert "3 shuffled orders, seed 0" in out


def test_what_the_page_about_the_memory_shows_are_commands() -> None:
    page = (ROOT / "docs" / "memory.md").read_text()
    lines = [line for line in page.splitlines() if line.startswith("ddrs ")]
    assert len(lines) >= 6
    for line in lines:
        _, *words = shlex.split(line, comments=True)
        group = typer.main.get_command(app)
        while words and words[0] in getattr(group, "commands", {}):
            group = group.commands[words.pop(0)]  # type: ignore[attr-defined]
        group.make_context("ddrs", words)  # raises on an unknown option or a missing one
