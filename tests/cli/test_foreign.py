"""What strangers' files and names hold, at every place that people see it."""

import csv
import io
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import warnings
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ddrs
from ddrs.cli.terminal import say, say_lines
from ddrs.display.progress import ProgressBar
from ddrs.engines.local.certify import certify_run
from ddrs.jobs.certify import CertifyJob
from support import toy
from support.terminal import run

LOG = "idx\tlabel\tpredict\tradius\tcorrect\ttime\n0\t3\t3\t0.61\t1\t0:00:13.5\n"

HOSTILE = {
    "escape": "x\x1b[2K\x1b[1A\x1b]0;title\x07",
    "C1 escape": "x\x9b2K",
    "line breaks": "x\r\nmade-up: 6 entries, sound\u2028more",
    "direction": "x\u202e0.1\u2066",
    "nothing to see": "x\u200b\U000e0041",
    "markup": "[/red][bold]x[link=http://e]",
    "broken markup": "[/]",
    "emoji": ":smile:",
    "tag": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "attribute": "\" onload='x' &lt;b&gt;",
    "markdown": r"x\|y|z`[a](http://e)",
    "formula": "=cmd|' !C calc'!A0",
    "formula behind a tab": "\t@SUM(1)",
    "formula behind a line break": "\r-1+1",
    "surrogate": os.fsdecode(b"x\xff"),
    "math": "$x_{$",
}
LONG = "begin" + "long " * 20_000 + "\x1b[2Kend"
UNSEEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2066-\u2069\U000e0041]")

hostile = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    data = toy.write_inputs(folder / "data.npz", 4)
    job = CertifyJob(
        data, "py:support.toy:linear", policy="search", sigma=0.5, n=60, seed=1,
        settings={"votes": 32},
    )  # fmt: skip
    certify_run(job, folder / "run", quiet=True)
    return folder / "run"


def name(text: str) -> str:
    """What a file of a stranger can be called."""
    return text.replace("/", "!")[:80]


def assert_plain(shown: str) -> None:
    assert not UNSEEN.search(shown), ascii(shown)
    assert "\U0001f604" not in shown  # the emoji, which would be another name


@hostile
def test_names_in_tables_and_messages(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / (name(text) + ".tsv")
    log.write_text(LOG)
    code, out, err = run(capsys, "table", str(log))
    assert (code, err) == (0, "")
    assert_plain(out)
    lines = out.splitlines()
    assert len(lines) == 5  # a table of three lines, and a note
    assert len({len(re.sub(r"\\\\|\\\|", "", line).split("|")) for line in lines[:3]}) == 1
    assert not re.search(r"(?<!\\)[<`\[]", out)

    code, out, _ = run(capsys, "table", str(log), "--format", "csv")
    assert_plain(out)
    _, (shown, *_) = csv.reader(io.StringIO(out))
    assert not re.match(r"\s*[=+@\-\t\r]", shown)

    code, out, _ = run(capsys, "table", str(log), "--format", "json")
    assert_plain(out)
    assert json.loads(out)[0]["run"] == name(text)

    log.write_text("no log")
    code, out, err = run(capsys, "table", str(log))
    assert (code, len(err.splitlines())) == (1, 1)
    assert_plain(err)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[tuple[str, str | None]] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found |= {(tag, None), *((tag, key) for key, _ in attributes)}


def assert_html(page: str) -> None:
    assert_plain(page)
    tags = Tags()
    tags.feed(page)
    assert {tag for tag, _ in tags.found}.isdisjoint({"script", "a", "b", "iframe", "object"})
    assert {key for tag, key in tags.found if tag == "img"} == {None, "alt", "src"}
    assert not {key for _, key in tags.found if key and key.startswith("on")}


def test_what_runs_say_of_themselves(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [*HOSTILE.values(), LONG]
    paths = [
        tmp_path / f"{number}{name(text)}".replace("\udcff", "")
        for number, text in enumerate(texts)
    ]
    for text, path in zip(texts, paths, strict=True):
        shutil.copytree(finished, path)
        config: dict[str, Any] = json.loads((path / "config.json").read_text())
        config |= dict.fromkeys(("data", "model", "model_digest", "version"), text)
        (path / "config.json").write_text(json.dumps(config))
        summary = json.loads((path / "summary.json").read_text())
        summary |= {"question": text, "n_at_most": 60}
        (path / "summary.json").write_text(json.dumps(summary))
        code, out, err = run(capsys, "audit", str(path))
        assert code == 1
        assert_plain(out + err)
    runs = [*map(str, paths)]
    for format in ("markdown", "csv", "json"):
        code, out, err = run(capsys, "table", *runs, "--format", format)
        assert (code, err) == (0, "")
        assert_plain(out)
        assert len(out) < 20_000 or format == "json"
    assert [one["question"] for one in json.loads(out)] == texts

    page = tmp_path / "page.html"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a glyph that the font does not have
        code, out, err = run(capsys, "report", *runs, "--out", str(page))
    assert (code, err) == (0, "")
    assert_html(page.read_text())


@pytest.mark.parametrize("text", [*HOSTILE.values(), LONG], ids=[*HOSTILE, "long"])
def test_an_audit_cannot_be_made_to_erase_what_it_says(
    text: str, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run"
    shutil.copytree(finished, path)
    text = text.encode("utf-8", "replace").decode()
    table = pq.read_table(path / "certificates.parquet")
    for column in ("model_digest", "input_digest", "version"):
        place = table.column_names.index(column)
        table = table.set_column(place, column, pa.array([text] * len(table)))
    pq.write_table(table, path / "certificates.parquet")
    _, out, err = run(capsys, "audit", str(path))
    assert_plain(out + err)
    *lines, last = out.splitlines()
    violations = [line for line in lines if line.startswith("violation: ")]
    assert all(line.startswith("note: ") for line in lines if line not in violations)
    assert len(violations) >= len(table)
    assert last.endswith(f"{len(violations)} violations")
    assert all(len(line) <= 2000 for line in lines)


@pytest.mark.parametrize("keys", [("norm",), ("model_digest", "noise")], ids=" ".join)
@pytest.mark.parametrize("text", [*HOSTILE.values(), LONG], ids=[*HOSTILE, "long"])
def test_what_a_memory_says_of_itself(
    text: str,
    keys: tuple[str, ...],
    finished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = text.encode("utf-8", "replace").decode()
    shutil.copy(finished / "memory.db", tmp_path / "m.db")
    with closing(sqlite3.connect(tmp_path / "m.db")) as store, store:
        for key in keys:
            changed = store.execute("UPDATE meta SET value = ? WHERE key = ?", (text, key))
            assert changed.rowcount == 1
    for command in (["audit"], ["memory", "stats"]):
        _, out, err = run(capsys, *command, f"sqlite:///{tmp_path / 'm.db'}")
        assert_plain(out + err)
        assert out + err
        assert all(len(line) <= 2000 for line in (out + err).splitlines())
        assert "made-up" not in [line[:7] for line in out.splitlines()]


@hostile
def test_a_progress_bar(text: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with ProgressBar(text, 10, "votes") as bar:
        bar.note(text)
        bar.restart(text, 5)
    assert_plain(capsys.readouterr().err)


def test_what_the_stream_cannot_hold_is_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii", write_through=True))
    say("é … 数")
    say_lines("a\nb\rc")
    assert raw.getvalue().decode("ascii").splitlines() == [r"\xe9 \u2026 \u6570", "a", r"b\rc"]


def test_a_traceback(tmp_path: Path) -> None:
    words = ["--debug", "table", str(tmp_path / "x\x1b[2K\u202e")]
    done = subprocess.run([sys.executable, "-m", "ddrs", *words], capture_output=True, check=False)
    shown = done.stderr.decode()
    assert done.returncode == 1
    assert shown.startswith("Traceback")
    assert "cannot read the log" in shown
    assert_plain(shown)


def test_there_is_no_other_way_to_a_terminal() -> None:
    """A command that printed by itself could forget that the text may be a stranger's."""
    root = Path(ddrs.__file__).parent
    printing = re.compile(r"\b(print|echo|secho)\(|\bConsole\(|std(out|err)\.write|os\.write\(")
    found = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if printing.search(path.read_text(encoding="utf-8"))
    }
    # The bar escapes what it is given; the process's entry writes texts of its own.
    assert found == {"cli/terminal.py", "display/progress.py", "cli/entry.py"}
