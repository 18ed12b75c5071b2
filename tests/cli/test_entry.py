"""A process that is interrupted, and one whose output has no room."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ddrs.cli.entry import interruption
from support import toy

ROOT = Path(__file__).parents[2]

AT_IMPORT = """
import os, signal, sys
from ddrs.cli.entry import main

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
sys.argv[1:] = {words!r}
main()
"""

NETWORKS = """
import os, signal, time
from support import toy

class Interrupted(toy.Linear):
    digest_name = "tests.Interrupted"

    def forward(self, x):
        if {when}:
            {first}
        return super().forward(x)

def once():
    return Interrupted()
"""
INTERRUPT = "os.kill(os.getpid(), signal.SIGINT)"
LATE = "self.rows > 3000"


def process(words: list[str], folder: Path, code: str | None = None) -> tuple[int, list[str]]:
    """Exit code and lines on standard error."""
    start = ["-m", "ddrs", *words] if code is None else ["-c", code]
    done = subprocess.run(
        [sys.executable, *start],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}", "PATH": ""},
        preexec_fn=heeding_interrupts,
    )
    return done.returncode, done.stderr.splitlines()


def heeding_interrupts() -> None:
    """Also where the tests themselves run in the background, which ignores interrupts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("package", ["typer", "numpy", "torch", "pyarrow"])
def test_while_packages_are_loaded(package: str, tmp_path: Path) -> None:
    words = ["certify", "--data", "digits", "--model", "m", "--sigma", "1", "--out", "run"]
    code, lines = process(words, tmp_path, AT_IMPORT.format(name=package, words=words))
    assert (code, lines) == (130, [interruption(words)])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("first", "whole"),
    [
        (INTERRUPT, True),
        # The exception is lost in the network, and the second time it is not waited for.
        (f"try: {INTERRUPT}\n            except KeyboardInterrupt: {INTERRUPT}", False),
    ],
)
def test_while_inputs_are_certified(first: str, whole: bool, tmp_path: Path) -> None:
    network = tmp_path / "networks.py"
    network.write_text(NETWORKS.format(when=LATE, first=first))
    words = ["certify", "--data", toy.write_inputs(tmp_path / "data.npz", 300), "--n", "100"]
    words += ["--model", "py:networks:once", "--sigma", "0.5", "--out", "run", "--seed", "1"]
    words += ["--batch-size", "100"]
    code, lines = process(words, tmp_path)
    assert code == 130
    assert lines[-1] == interruption(words)
    assert not [line for line in lines if "Traceback" in line or "KeyboardInterrupt" in line]
    assert "every input that is certified is kept" in lines[-1]
    network.write_text(NETWORKS.format(when="False", first="pass"))
    assert process(words, tmp_path)[0] == 0


def test_a_command_says_what_it_keeps() -> None:
    assert "epoch" in interruption(["--debug", "train", "--data", "digits"])
    assert interruption(["train", "--dry-run"]) == "interrupted; what was there is kept"
    assert "entry" in interruption(["memory", "import", "m.parquet"])
    for words in (["table", "run"], ["memory", "stats", "url"], [], ["--help"]):
        assert interruption(words) == "interrupted; what was there is kept"


def test_output_without_room_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(
        "idx\tlabel\tpredict\tradius\tcorrect\ttime\n0\t3\t3\t0.61\t1\t0:00:13.5\n"
    )
    code = "import sys; sys.stdout = open('/dev/full', 'w'); sys.argv[1:] = ['table', 'log']\n"
    code += "from ddrs.cli.entry import main; main()"
    found, lines = process([], tmp_path, code)
    assert found == 1
    assert len(lines) == 1
    assert lines[0].startswith("error: No space left on device; make room")


@pytest.mark.parametrize("words", ["table log.tsv", "audit absent", "--version"])
def test_closed_streams_end_in_no_traceback(words: str, tmp_path: Path) -> None:
    (tmp_path / "log.tsv").write_text("idx\tlabel\tpredict\tradius\n0\t1\t1\t0.5\n")
    done = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m ddrs {words} >&-"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (words == "audit absent", False)


def test_what_is_said_gets_into_no_file_that_is_opened_later(tmp_path: Path) -> None:
    script = (
        "import os\nfrom ddrs.cli import entry\nentry._fill_closed_streams()\n"
        "file = open('run', 'w')\nassert file.fileno() > 2\nos.write(2, b'interrupted')\n"
    )
    command = f'exec {sys.executable} -c "$0" >&- 2>&-'
    subprocess.run(["sh", "-c", command, script], cwd=tmp_path, check=True, timeout=60)
    assert (tmp_path / "run").read_text() == ""
