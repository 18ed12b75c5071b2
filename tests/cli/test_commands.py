import json
import re
import sqlite3
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddrs.cli.commands import app, main
from support import toy
from support.terminal import run

COMMANDS = [command.name or command.callback.__name__ for command in app.registered_commands]  # type: ignore[union-attr]


@pytest.fixture
def certified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The words of a `ddrs certify` command that has been carried out."""
    data = toy.write_inputs(tmp_path / "data.npz")
    words = ["certify", "--data", data, "--model", "py:support.toy:linear", "--sigma", "0.5"]
    words += ["--policy", "search", "--n", "400", "--seed", "1", "--out", str(tmp_path / "run")]
    code, out, _ = run(capsys, *words)
    assert code == 0
    assert "run" in out
    return words


def test_the_commands_are_those_of_the_contract() -> None:
    assert COMMANDS == [
        "demo",
        "train",
        "certify",
        "calibrate",
        "attack",
        "table",
        "report",
        "audit",
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_text_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, command, "--help")
    assert code == 0
    assert f"ddrs {command}" in re.split("Examples?:", out)[1]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version")[1].startswith("ddrs 0.")


def test_table_compares_runs_and_logs(
    certified: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "cohen.tsv"
    log.write_text("idx\tlabel\tpredict\tradius\tcorrect\ttime\n0\t3\t3\t0.61\t1\t0:00:13.5\n")
    code, out, _ = run(
        capsys, "table", str(tmp_path / "run"), str(log), "--radii", "0,0.5", "--format", "json"
    )
    assert code == 0
    first, second = json.loads(out)
    assert first["inputs"] == 12
    assert second["inputs"] == 1


def test_report_writes_a_page_or_says_why_not(
    certified: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, page = str(tmp_path / "run"), tmp_path / "run" / "report.html"
    assert run(capsys, "report", target, "--out", str(page))[:2] == (0, f"report: {page}\n")
    assert page.read_text().startswith("<!doctype html>")
    code, _, err = run(capsys, "report", target, "--out", str(page.with_suffix(".txt")))
    assert code == 2
    assert "does not end in .html" in err
    code, _, err = run(capsys, "report", target, "--out", str(page), "--radii", "near")
    assert code == 2
    assert run(capsys, "report", str(tmp_path / "nothing"), "--out", str(page))[0] == 1


def test_audit_says_whether_a_run_is_sound(
    certified: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, memory = str(tmp_path / "run"), f"sqlite:///{tmp_path / 'run' / 'memory.db'}"
    data = f"npz:{tmp_path / 'data.npz'}"
    assert run(capsys, "audit", target, "--data", data)[:2] == (0, f"{target}: 12 entries, sound\n")
    assert run(capsys, "audit", target)[:2] == (
        0,
        "note: labels, inputs and the null were not compared with the data: give --data SPEC\n"
        f"{target}: 12 entries, sound\n",
    )
    assert run(capsys, "audit", memory)[0] == 0
    with sqlite3.connect(tmp_path / "run" / "memory.db") as connection:
        connection.execute("UPDATE regions SET radius = 2 * radius WHERE id = 1")
    for place in (target, memory):
        code, out, _ = run(capsys, "audit", place)
        assert code == 1
        assert "violation: " in out


def test_without_memory_the_command_says_what_that_means(
    tmp_path: Path, certified: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*certified[:-1], str(tmp_path / "other"), "--memory", "none"]
    code, _, err = run(capsys, *words)
    assert code == 0
    assert "not sound together" in err
    summary = json.loads((tmp_path / "other" / "summary.json").read_text())
    assert summary["sound_together"] is False


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["certify", "--data", "digits"], 2, "--model"),
        (["certify", "--data", "digits", "--model", "py:support.toy:linear", "--sigma", "1",
          "--out", ""], 2, "'--out': it is empty"),
        (["train", "--data", "digits", "--sigma", "1", "--out", ""], 2, "'--out': it is empty"),
        (["demo", "--out", ""], 2, "'--out': it is empty"),
        (["audit", "sqlite:///gone.db", "--memory", "sqlite:///gone.db"], 2, "with a run"),
        (["audit", "sqlite:///gone.db", "--data", "digits"], 2, "with a run"),
        (["audit", "postgresql:/me:secret@host/db"], 2, "no memory URL"),
        (["certify", "--data", "nonsense", "--model", "py:support.toy:linear", "--out", "OUT"], 2,
         "nonsense"),
        (["certify", "--data", "digits", "--model", "nonsense", "--out", "OUT"], 2, "nonsense"),
        (["certify", "--data", "digits", "--model", "timm:resnet50", "--out", "OUT"], 1, "timm"),
        (["certify", "--data", "digits", "--model", "torchvision:resnet18", "--out", "OUT"], 1,
         "torchvision"),
        (["certify", "--data", "npz:gone", "--model", "py:support.toy:linear", "--out", "OUT"], 1,
         "gone"),
        (["certify", "--data", "digits", "--model", "py:support.toy:linear", "--sigma", "0",
          "--out", "OUT"], 2, "sigma"),
        (["certify", "--data", "digits", "--model", "py:support.toy:linear", "--n", "0", "--out",
          "OUT"], 2, "n="),
        (["certify", "--data", "digits", "--model", "py:support.toy:linear", "--at-radii", "0.5;1",
          "--out", "OUT"], 2, "--at-radii takes"),
        (["certify", "--data", "digits", "--model", "py:support.toy:linear", "--at-radii", "-1",
          "--out", "OUT"], 2, "at_radii"),
        (["certify", "--data", "digits", "--model", "py:support.toy:linear", "--radius-tolerance",
          "0", "--out", "OUT"], 2, "radius_tolerance"),
        (["certify", "--data", "digits", "--model", "py:support.toy:linear", "--radius-tolerance",
          "0.1", "--at-radii", "0.5", "--out", "OUT"], 2, "not both"),
        (["certify", "--data", "digits", "--model", "py:support.toy:linear", "--policy", "search",
          "--steps", "900", "--out", "OUT"], 2,
         "--steps is an option of the policy gradient, not of search"),
        (["certify", "--data", "digits", "--model", "py:support.toy:linear", "--policy", "gradient",
          "--search-votes", "99", "--out", "OUT"], 2, "of the policy search, not of gradient"),
        (["certify", "--data", "digits", "--model", "py:support.toy:linear", "--high", "1", "--out",
          "OUT"], 2, "of the policy gradient and search, not of fixed"),
        (["table", "gone"], 1, "gone"),
        (["table", "gone", "--radii", "a,b"], 2, "--radii"),
        (["audit", "gone"], 1, "gone"),
        (["audit", "sqlite:///gone.db"], 1, "gone.db"),
        (["audit", "gone", "--orders", "0"], 2, "at least 1 order"),
        (["audit", "gone", "--orders", "2"], 1, "gone"),
        (["audit", "sqlite:///gone.db", "--orders", "2"], 2, "takes a run directory"),
        (["certify", "--data", "digits", "--model", "py:support.toy:linear", "--sigma", "1",
          "--read-only", "--out", "OUT"], 2, "give its URL"),
        (["certify", "--data", "digits", "--model", "py:support.toy:linear", "--alternative",
          "py:support.toy:another", "--out", "OUT"], 2, "--policy search"),
        (["memory", "stats", "sqlite:///gone.db"], 1, "no memory at"),
        (["memory", "stats", "memory://"], 1, "no memory at"),
        (["memory", "stats", "gone.db"], 2, "no memory URL"),
        (["memory", "export", "sqlite:///gone.db", "--out", "OUT"], 1, "no memory at"),
        (["memory", "import", "gone.parquet", "--memory", "sqlite:///new.db"], 1, "gone.parquet"),
    ],
)  # fmt: skip
def test_wrong_usage_and_failures_are_one_clear_message(
    words: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    out = str(tmp_path / "out")
    found, _, err = run(capsys, *(out if word == "OUT" else word for word in words))
    assert found == code
    assert message in err
    assert "Traceback" not in err
    assert "secret" not in err
    assert not list(tmp_path.iterdir())


def test_another_configuration_is_refused_in_one_line(
    certified: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, *certified, "--alpha", "0.05")
    assert code == 1
    assert "another configuration" in err
    assert len(err.strip().splitlines()) == 1


def test_several_classifiers_can_be_chosen_from(
    certified: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "several"
    words = [*certified[:-1], str(run_dir), "--alternative", "py:support.toy:another"]
    assert run(capsys, *words)[0] == 0
    config = json.loads((run_dir / "config.json").read_text())
    assert len(config["model_digests"]) == 2
    assert config["selection"] == "first"
    assert run(capsys, "audit", str(run_dir))[0] == 0
    code, _, err = run(capsys, *words, "--selection", "all")
    assert code == 1
    assert "another configuration" in err
    words[words.index(str(run_dir))] = str(tmp_path / "all")
    words += ["--selection", "all"]
    assert run(capsys, *words)[0] == 0
    assert json.loads((tmp_path / "all" / "config.json").read_text())["selection"] == "all"
    assert run(capsys, "audit", str(tmp_path / "all"))[0] == 0


def test_a_cascade_says_that_it_needs_no_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = toy.write_inputs(tmp_path / "data.npz", count=2)
    words = ["certify", "--data", data, "--model", "py:support.toy:linear", "--n", "400"]
    words += ["--policy", "cascade", "--seed", "1", "--out", str(tmp_path / "run")]
    code, _, err = run(capsys, *words, "--sigmas", "0.5,0.25", "--sigma", "0.5")
    assert code == 2
    assert "takes --sigmas" in err
    code, out, err = run(capsys, *words, "--sigmas", "0.5,0.25", "--p0", "0.7,0.5")
    assert code == 0
    assert "hold by themselves, without a memory" in err
    assert "it needs no memory" in out
    assert json.loads((tmp_path / "run" / "config.json").read_text())["policy"] == {
        "name": "cascade",
        "sigmas": [0.5, 0.25],
        "p0": [0.7, 0.5],
    }
    assert run(capsys, "audit", str(tmp_path / "run"))[0] == 0


def test_a_router_says_that_it_needs_no_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = toy.write_inputs(tmp_path / "data.npz", count=2)
    words = ["certify", "--data", data, "--model", "py:support.toy:linear", "--n", "400"]
    words += ["--sigmas", "0.25,0.5", "--seed", "1", "--out", str(tmp_path / "run")]
    router = ["--router", "py:support.toy:router"]
    code, _, err = run(capsys, *words, *router, "--policy", "cascade")
    assert code == 2
    assert "--router is an option of the policy routed, not of cascade" in err
    words += ["--policy", "routed"]
    code, _, err = run(capsys, *words)
    assert code == 2
    assert "give --router" in err
    code, out, err = run(capsys, *words, *router)
    assert code == 0
    assert "the certificates of a router hold by themselves" in err
    assert "it needs no memory" in out
    assert json.loads((tmp_path / "run" / "config.json").read_text())["policy"] == {
        "name": "routed",
        "sigmas": [0.25, 0.5],
        "router": "py:support.toy:router",
        "router_sigma": None,
    }
    assert run(capsys, "audit", str(tmp_path / "run"))[0] == 0


def test_a_question_is_named_below_the_table_and_shows_its_radii(
    certified: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*certified[:-1], str(tmp_path / "asked"), "--at-radii", "0.3,1"]
    code, out, _ = run(capsys, *words)
    assert code == 0
    header, *_, footer = out.strip().splitlines()
    assert re.findall(r"r=\S+", header) == ["r=0.30", "r=1.00"]
    assert footer.startswith("n at most 400 (until settled at r = 0.3, 1; low at other r), alpha")
    assert run(capsys, *words)[0] == 0  # the same question goes on, another is refused
    for other in (["--at-radii", "0.3"], ["--radius-tolerance", "0.1"], []):
        code, _, err = run(capsys, *words[:-2], *other)
        assert code == 1
        assert "another configuration" in err
    assert run(capsys, "audit", str(tmp_path / "asked"))[0] == 0


@pytest.mark.parametrize("words", [["--debug", "table", "gone"], ["table", "gone", "--debug"]])
def test_debug_shows_where_an_error_came_from(words: list[str]) -> None:
    with pytest.raises(OSError, match="gone"):
        main(words)


def test_attack_shows_a_table_and_keeps_its_result(
    certified: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "run"
    words = ["attack", str(target), "--inputs", "2", "--steps", "2", "--draws", "4"]
    code, out, _ = run(capsys, *words, "--factor", "0.5,2")
    assert code == 0
    assert out.count("| 0.5 R") == out.count("| 2 R") == 5
    assert f"{target}: 0 violations of what is guaranteed" in out
    code, again, _ = run(capsys, *words, "--factor", "0.5,2")
    assert (code, again) == (0, out)
    assert json.loads((target / "attack.json").read_text())["kind"] == "attack"
    code, _, error = run(capsys, *words, "--factor", "0.5,3")
    assert code == 1
    assert "of another attack: choose another --out" in error
    for option, value, message in (
        ("--out", "a.txt", "does not end in .json"),
        ("--out", "no/a.json", "there is no directory no"),
        ("--factor", "near", "takes numbers with commas between"),
    ):
        code, _, error = run(capsys, *words, option, value)
        assert code == 2
        assert message in error


def test_a_violation_ends_attack_with_exit_code_1(
    certified: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pq.read_table(tmp_path / "run" / "certificates.parquet").to_pylist()
    for row in table:
        row["radius"] *= 30
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "run" / "certificates.parquet")
    code, out, _ = run(capsys, "attack", str(tmp_path / "run"), "--steps", "2", "--draws", "4")
    assert code == 1
    assert "violation: input " in out
    assert "is answered (votes with the input's sigma)" in out
