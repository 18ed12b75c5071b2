"""What a forger may alter, with everything else made to agree, and the line that tells of it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddrs.cli.commands import main
from ddrs.engines.local.certify import certify_run
from ddrs.evaluation.summary import summarise
from ddrs.finished.reading import read_finished
from ddrs.jobs.certify import CertifyJob
from ddrs.memory.memory import Memory
from ddrs.runs.rows import CertifiedRow
from support import toy

Rows = list[dict[str, Any]]
OTHER = "b" * 64
SHORT = f"'{17 * 'b'}...{18 * 'b'}'"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a run with a memory of its own, and one without a memory."""
    folder = tmp_path_factory.mktemp("made")
    data = toy.write_inputs(folder / "data.npz", 6)
    for policy in ("search", "fixed"):
        job = CertifyJob(
            data, "py:support.toy:linear", policy=policy, sigma=0.5, n=400, alpha=0.01, seed=1
        )
        certify_run(job, folder / policy, quiet=True)
    return folder


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def audit(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[object, list[str]]:
    """Exit code and lines of `ddrs audit`."""
    with pytest.raises(SystemExit) as ended:
        main(["audit", *words])
    out, err = capsys.readouterr()
    assert err == ""
    return ended.value.code, out.splitlines()


def write_rows(run: Path, change: Callable[[Rows], object]) -> None:
    """Change the table, and make the summary of what it says then."""
    rows = pq.read_table(run / "certificates.parquet").to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows), run / "certificates.parquet")
    summary = json.loads((run / "summary.json").read_text())
    on, entries = summary["memory"]["on"], summary["memory"]["entries"]
    new = summarise(
        [CertifiedRow.from_row(row) for row in rows],
        seconds=summary["seconds"],
        memory_entries=entries if on else None,
        **read_finished(run).config.summary_settings,
    )
    (run / "summary.json").write_text(json.dumps(new.to_json()))


def every(**values: Any) -> Callable[[Rows], object]:
    return lambda rows: [row.update(values) for row in rows]


def one(**values: Any) -> Callable[[Rows], object]:
    return lambda rows: rows[0].update(values)


def without_votes(rows: Rows) -> None:
    rows[0]["votes"] = rows[0]["n"]


def labelled(row: dict[str, Any], label: int) -> dict[str, Any]:
    return {"label": label, "correct": row["prediction"] == label}


def all_correct(rows: Rows) -> None:
    for row in rows:
        row.update(labelled(row, max(row["prediction"], 0)))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            one(prediction=10**6, own_prediction=10**6, label=10**6),
            "violation: class: entry 0: its prediction is 1000000, the run has 3 classes",
        ),
        (
            one(clean_prediction=7),
            "violation: class: entry 0: its clean_prediction is 7, the run has 3 classes",
        ),
        (
            one(clean_prediction=-1),
            "violation: class: entry 0: its clean_prediction is -1, the run has 3 classes",
        ),
        (
            one(count=300, runner_up=49),
            "violation: class: entry 0: its runner_up is 49, but among 3 classes one other has at "
            "least 50 of 400 votes",
        ),
        (every(input_digest="0" * 64), "violation: all 6 rows are of one input"),
        (
            lambda rows: [row.update(input_digest="0" * 64) for row in rows[:-1]],
            "note: 4 of 6 rows repeat the input of another row",
        ),
        (
            without_votes,
            "violation: certificate: entry 0: it took 400 votes, fewer than its n0 and n, "
            "100 and 400",
        ),
        (
            all_correct,
            "note: labels and inputs were not compared with the data: give --data SPEC",
        ),
    ],
)
def test_an_altered_row_is_told(
    copied: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[Rows], object],
    line: str,
) -> None:
    write_rows(copied / "fixed", change)
    code, lines = audit(capsys, str(copied / "fixed"))
    assert line in lines
    assert code == 1 or line.startswith("note: ")


def test_two_classes_of_one_input_are_told(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    certified = [row for row in read_finished(copied / "fixed").rows if row.prediction >= 0]
    one, other = next((a, b) for a in certified for b in certified if a.prediction < b.prediction)

    def same_input(rows: Rows) -> None:
        rows[other.index]["input_digest"] = one.certificate.input_digest

    write_rows(copied / "fixed", same_input)
    code, lines = audit(capsys, str(copied / "fixed"))
    first, second = sorted((one, other), key=lambda row: row.index)
    assert code == 1
    assert (
        f"violation: rows: entry {first.index} and {second.index}: one input has classes "
        f"{first.prediction} and {second.prediction}"
    ) in lines


def test_labels_and_inputs_are_compared_with_data_that_are_given(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, data = str(copied / "fixed"), f"npz:{copied / 'data.npz'}"
    assert audit(capsys, run, "--data", data) == (0, [f"{run}: 6 entries, sound"])
    label = pq.read_table(copied / "fixed" / "certificates.parquet")["label"][0].as_py()
    wrong = (label + 1) % toy.CLASSES
    write_rows(copied / "fixed", lambda rows: rows[0].update(labelled(rows[0], wrong)))
    code, lines = audit(capsys, run, "--data", data)
    line = f"violation: data: entry 0: its label is {wrong}, that in the data {label}"
    assert (code, lines[0]) == (1, line)
    write_rows(copied / "fixed", one(input_digest="0" * 64))
    _, lines = audit(capsys, run, "--data", data)
    assert "violation: data: entry 0: its input is not the one in the data" in lines
    short = toy.write_inputs(copied / "short.npz", 5)
    assert (
        "violation: data: entry 5: the data have 5 inputs only"
        in audit(capsys, run, "--data", short)[1]
    )


def remake(run: Path, change: Callable[[dict[str, Any]], object], *, entries: int = 99) -> None:
    """Make the memory of a run again, sound in itself, with other evidence for its claims."""
    path = run / "memory.db"
    with Memory(f"sqlite:///{path}", norm=None, read_only=True) as memory:
        about, stored = memory.about(), list(memory.entries())
    path.unlink()
    with Memory(f"sqlite:///{path}", norm=about["norm"]) as memory:  # type: ignore[arg-type]
        memory.bind(about["model_digest"], about["noise"])
        for entry in stored:
            evidence = json.loads(str(entry.resolution.evidence))
            if entry.id <= entries:
                change(evidence)
            claim = evidence["own_prediction"], entry.claimed_radius
            memory.resolve(entry.point, *claim, evidence=json.dumps(evidence))


def set_to(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda evidence: evidence.update(values)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (set_to(model_digest=OTHER), "entry 1: its model_digest is "),
        (set_to(looks=1.0), "entry 1: its certificate cannot be read: looks: 1.0 is not a whole"),
        (set_to(seed=0.5), "entry 1: its certificate cannot be read: seed: 0.5 is not a whole"),
        (set_to(n0=99.5), "entry 1: its certificate cannot be read: n0: 99.5 is not a whole"),
        (
            lambda evidence: evidence.update(count=evidence["count"] + 0.5),
            "entry 1: its certificate cannot be read: count: ",
        ),
        (
            set_to(sigma="x"),
            "entry 1: its certificate cannot be read: sigma: 'x' is not a noise scale",
        ),
        (set_to(votes=0), "entry 1: it took 0 votes, fewer than its n0 and n, 100 and 400"),
        (
            lambda evidence: evidence.update(
                further=[{key: evidence[key] for key in PIECE} | {"role": "answer", "norm": "l1"}]
            ),
            "entry 1: its pieces of evidence are of several norms: l1, l2",
        ),
    ],
)
def test_altered_evidence_in_a_memory_is_told(
    copied: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[dict[str, Any]], object],
    line: str,
) -> None:
    run = copied / "search"
    remake(run, change, entries=1)
    for target in (str(run), f"sqlite:///{run / 'memory.db'}"):
        code, lines = audit(capsys, target)
        assert code == 1
        assert any(found.startswith(f"violation: evidence: {line}") for found in lines), lines


PIECE = (
    "sigma", "norm", "bound", "p_lower", "p_upper", "count", "runner_up", "n", "looks", "alpha",
    "model_digest",
)  # fmt: skip


def test_evidence_of_another_norm_is_told(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Uniform noise proves a radius of its own: all of the certificate agrees with itself."""
    from ddrs.noise.distributions import Uniform

    def in_l1(evidence: dict[str, Any]) -> None:
        radius = Uniform().radius(evidence["sigma"], evidence["p_lower"], evidence["p_upper"])
        evidence.update(norm="l1", own_radius=radius, radius=radius)

    run = copied / "search"
    path = run / "memory.db"
    remake(run, in_l1)
    for target in (str(run), f"sqlite:///{path}"):
        _, lines = audit(capsys, target)
        assert "violation: evidence: entry 1: its norm is l1, not l2" in lines


def test_a_memory_whose_certificates_are_all_of_another_network_is_not_sound(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied / "search"
    remake(run, set_to(model_digest=OTHER))
    url = f"sqlite:///{run / 'memory.db'}"
    code, (line,) = audit(capsys, url)
    assert code == 1
    assert "sound but for the classifiers of its certificates, which it does not name" in line
    write_rows(run, every(model_digest=OTHER))  # in the run as in the memory
    config = json.loads((run / "config.json").read_text())
    own = config["model_digest"]
    code, lines = audit(capsys, str(run))
    assert f"violation: configuration: entry 0: its model_digest is {SHORT}, not {own}" in lines
    (run / "config.json").write_text(json.dumps(config | {"model_digests": [OTHER]}))
    line = "violation: its model_digest is not that of its model_digests together"
    assert line in audit(capsys, str(run))[1]
    (run / "config.json").write_text(
        json.dumps(config | {"model_digests": [OTHER], "model_digest": OTHER})
    )
    line = f"violation: the memory's model_digest is {own}, the run's is {OTHER}"
    assert line in audit(capsys, str(run))[1]


def test_a_memory_of_several_classifiers_is_sound_where_its_entries_name_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    job = CertifyJob(
        data, "py:support.toy:linear", policy="search", sigma=0.5, n=400, alpha=0.01, seed=1,
        alternatives=("py:support.toy:another",),
    )  # fmt: skip
    certify_run(job, tmp_path / "run", quiet=True)
    for target in (str(tmp_path / "run"), f"sqlite:///{tmp_path / 'run' / 'memory.db'}"):
        assert audit(capsys, target)[0] == 0


def test_a_row_whose_votes_are_not_those_in_the_memory_is_told(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def more_votes(rows: Rows) -> None:
        next(row for row in rows if row["outcome"] == "own")["votes"] += 5

    write_rows(copied / "search", more_votes)
    code, lines = audit(capsys, str(copied / "search"))
    assert code == 1
    assert any("its certificate is not the one that is stored with its answer" in x for x in lines)


def test_certificates_of_other_runs_with_other_settings_are_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    job = CertifyJob(
        data, "py:support.toy:linear", policy="search", sigma=0.5, n=100, alpha=0.05, seed=1,
        memory=f"sqlite:///{tmp_path / 'shared.db'}", limit=5,
    )  # fmt: skip
    certify_run(job, tmp_path / "first", quiet=True)
    second = replace(job, n=400, alpha=0.01, limit=None, at_radii=(0.25,))
    summary = certify_run(second, tmp_path / "second", quiet=True)
    rows = pq.read_table(tmp_path / "second" / "certificates.parquet").to_pylist()
    count = sum(row["n"] == 100 and row["alpha"] == 0.05 for row in rows)
    assert count >= 3
    found = {name: summary.other_settings[name] for name in ("rows", "looks", "alpha")}
    assert found == {"rows": count, "looks": count, "alpha": count}
    told = f"other runs that share the memory made {count} of 12 certificates, with other settings"
    run = str(tmp_path / "second")
    code, lines = audit(capsys, run)
    assert code == 0
    assert any(line.startswith(f"note: {told}") for line in lines)
    with pytest.raises(SystemExit):
        main(["table", run])
    text = capsys.readouterr().out
    assert "| second+ " in text
    assert f"; + {told}" in text
    assert not certify_run(job, tmp_path / "first", quiet=True).other_settings

    stored = json.loads((tmp_path / "second" / "summary.json").read_text())
    (tmp_path / "second" / "summary.json").write_text(json.dumps(stored | {"other_settings": {}}))
    code, lines = audit(capsys, run)
    assert (code, "violation: other_settings.rows is missing in the summary" in lines) == (1, True)


def test_a_smaller_alpha_is_no_fault(copied: Path) -> None:
    config = read_finished(copied / "fixed").config
    (row, *_) = read_finished(copied / "fixed").rows
    assert config.differences(row.certificate) == {}
    assert config.differences(replace(row.certificate, alpha=0.005)) == {}
    assert list(config.differences(replace(row.certificate, alpha=0.02))) == ["alpha"]
