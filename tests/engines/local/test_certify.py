import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from ddrs.engines.local.certify import certify_run
from ddrs.engines.local.groups import GroupSize
from ddrs.engines.local.train import train_run
from ddrs.errors import ConfigurationError, DataError, ModelError, RunError, StoreError
from ddrs.finished.audit import audit_run
from ddrs.jobs.certify import CertifyJob
from ddrs.jobs.config import CertifyConfig
from ddrs.jobs.train import TrainJob
from ddrs.memory.memory import Memory
from ddrs.proof.certificate import Certificate
from ddrs.proof.stopping import Estimation
from ddrs.proof.tries import alpha_left
from ddrs.runs.directory import Run
from ddrs.runs.rows import CertifiedRow
from ddrs.training.config import TrainingConfig
from support import toy

TESTS = Path(__file__).parents[2]


def job(data: str, **changes: object) -> CertifyJob:
    settings: dict[str, object] = {
        "model": "py:support.toy:linear",
        "sigma": 0.5,
        "n": 400,
        "alpha": 0.01,
        "seed": 1,
        **changes,
    }
    return CertifyJob(data=data, **settings)  # type: ignore[arg-type]


def rows(run: Path) -> list[dict[str, object]]:
    """The rows of a finished run without the time they took."""
    found = pq.read_table(run / "certificates.parquet").to_pylist()
    return [{key: value for key, value in row.items() if key != "seconds"} for row in found]


def test_a_run_holds_what_the_contract_names(tmp_path: Path) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    summary = certify_run(job(data, policy="search", limit=10), tmp_path / "run", quiet=True)
    assert json.loads((tmp_path / "run" / "summary.json").read_text()) == summary.to_json()
    table = rows(tmp_path / "run")
    assert [row["index"] for row in table] == list(range(10))
    assert set(Certificate.__dataclass_fields__) | {"index", "label", "correct"} <= set(table[0])
    assert summary.inputs == 10
    assert summary.clean_accuracy == 1.0  # the labels are the toy's own answers
    stored = sum(row["outcome"] != "abstained" for row in table)
    assert summary.memory.entries == stored
    assert summary.votes == sum(row["votes"] for row in table)  # type: ignore[misc]
    with Memory(f"sqlite:///{tmp_path / 'run' / 'memory.db'}") as memory:
        assert len(memory) == stored
        assert memory.audit().ok


def test_each_input_gets_one_of_several_classifiers(tmp_path: Path) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    asked = job(data, policy="search", alternatives=("py:support.toy:another",))
    certify_run(asked, tmp_path / "run", quiet=True)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["alternatives"] == ["py:support.toy:another"]
    assert config["selection"] == "first"
    used = {row["model_digest"] for row in rows(tmp_path / "run")}
    assert len(used) == 2
    assert used == set(config["model_digests"])
    assert config["model_digest"] not in used
    assert audit_run(tmp_path / "run").ok
    certify_run(asked, tmp_path / "run", quiet=True)  # the same run
    with pytest.raises(RunError):
        certify_run(job(data, policy="search"), tmp_path / "run", quiet=True)
    certify_run(job(data, policy="search"), tmp_path / "one", quiet=True)
    config = json.loads((tmp_path / "one" / "config.json").read_text())
    assert (config["alternatives"], config["selection"]) == ([], "first")
    assert config["model_digests"] == [config["model_digest"]]


def test_whose_votes_select_the_class_decides_results(tmp_path: Path) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    asked = job(data, policy="search", alternatives=("py:support.toy:another",))
    certify_run(asked, tmp_path / "first", quiet=True)
    together = replace(asked, selection="all")
    certify_run(together, tmp_path / "all", quiet=True)
    assert json.loads((tmp_path / "all" / "config.json").read_text())["selection"] == "all"
    for first, both in zip(rows(tmp_path / "first"), rows(tmp_path / "all"), strict=True):
        assert both["votes"] - both["n"] == first["votes"] - first["n"] + first["n0"]  # type: ignore[operator]
    with pytest.raises(RunError):
        certify_run(asked, tmp_path / "all", quiet=True)


def test_an_alternative_that_does_not_fit_leaves_no_run_behind(tmp_path: Path) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    asked = job(data, policy="search", alternatives=("py:support.toy:narrow",))
    with pytest.raises(ModelError):
        certify_run(asked, tmp_path / "run", quiet=True)
    with pytest.raises(ConfigurationError, match="use --policy search"):
        job(data, alternatives=("py:support.toy:another",))
    assert not (tmp_path / "run").exists()


def test_a_finished_run_is_given_again_without_work(tmp_path: Path) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    first = certify_run(job(data), tmp_path / "run", quiet=True)
    stamp = (tmp_path / "run" / "certificates.parquet").stat().st_mtime_ns
    assert certify_run(job(data), tmp_path / "run", quiet=True) == first
    assert (tmp_path / "run" / "certificates.parquet").stat().st_mtime_ns == stamp


def test_batch_size_and_grouping_do_not_change_results(tmp_path: Path) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    for size in (1, 7, 512):
        asked = job(data, policy="search", batch_size=size, n=100)
        certify_run(asked, tmp_path / str(size), quiet=True)
    assert rows(tmp_path / "1") == rows(tmp_path / "7") == rows(tmp_path / "512")


RULES = [{"at_radii": (0.3, 0.8)}, {"radius_tolerance": 0.1}]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("policy", ["fixed", "search"])
def test_a_stopping_rule_ends_inputs_one_by_one(
    tmp_path: Path, policy: str, rule: dict[str, object]
) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    asked = job(data, policy=policy, n=4000, **rule)
    summary = certify_run(asked, tmp_path / "run", quiet=True)
    table = rows(tmp_path / "run")
    times = Estimation(4000, stopping=asked.stopping).times
    assert {row["looks"] for row in table} == {len(times)}
    assert {row["n"] for row in table} <= set(times)
    assert len({row["n"] for row in table}) > 1
    assert summary.n is None
    assert summary.n_at_most == 4000
    assert summary.question == str(asked.stopping)
    assert summary.votes == sum(row["votes"] for row in table)  # type: ignore[misc]
    assert ("0.30" in summary.certified_accuracy) == ("at_radii" in rule)
    for size in (1, 7):
        certify_run(replace(asked, batch_size=size), tmp_path / str(size), quiet=True)
        assert rows(tmp_path / str(size)) == table
    report = audit_run(tmp_path / "run")
    assert report.ok, report.violations


def test_a_run_resumes_with_its_stopping_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    asked = job(data, n=4000, radius_tolerance=0.1)
    certify_run(asked, tmp_path / "whole", quiet=True)
    stop_half_way(asked, tmp_path / "run", monkeypatch)
    with pytest.raises(RunError, match="another configuration"):
        certify_run(replace(asked, radius_tolerance=None), tmp_path / "run", quiet=True)
    certify_run(asked, tmp_path / "run", quiet=True)
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")


@pytest.mark.parametrize("rule", [{}, RULES[0]])
def test_the_bar_ends_full_and_names_its_unit(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    rule: dict[str, object],
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    data = toy.write_inputs(tmp_path / "data.npz")
    certify_run(job(data, n=4000, **rule), tmp_path / "run")
    shown = capsys.readouterr().err
    assert "100%" in shown
    assert "12/12 inputs" in shown
    assert (" settled/s" in shown) == bool(rule)


@pytest.mark.parametrize("policy", ["fixed", "search"])
def test_killed_and_resumed_gives_what_an_unbroken_run_gives(tmp_path: Path, policy: str) -> None:
    data = toy.write_inputs(tmp_path / "data.npz", count=30)
    asked = job(data, policy=policy, batch_size=40)
    certify_run(asked, tmp_path / "whole", quiet=True)
    command = [
        sys.executable,
        "-m",
        "ddrs",
        "certify",
        "--data",
        data,
        "--model",
        "py:support.toy:linear",
    ]
    command += ["--sigma", "0.5", "--n", "400", "--alpha", "0.01", "--seed", "1"]
    command += ["--policy", policy, "--calibration", "none", "--batch-size", "40"]
    command += ["--out", str(tmp_path / "broken")]
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "TOY_SECONDS": "0.01"}
    journal = tmp_path / "broken" / "certificates.partial"
    for lines in (1, 4):  # killed twice
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 60
            while not (journal.exists() and journal.read_bytes().count(b"\n") >= lines):
                assert process.poll() is None, "it ended before it could be killed"
                assert time.monotonic() < deadline
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "broken" / "summary.json").exists()
    certify_run(asked, tmp_path / "broken", quiet=True)
    assert rows(tmp_path / "broken") == rows(tmp_path / "whole")


def test_a_stored_answer_that_was_not_written_is_given_on_resume(tmp_path: Path) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    asked = job(data, policy="search")
    certify_run(asked, tmp_path / "run", quiet=True)
    before = rows(tmp_path / "run")
    table = pq.read_table(tmp_path / "run" / "certificates.parquet").to_pylist()
    for name in ("certificates.parquet", "summary.json"):
        (tmp_path / "run" / name).unlink()
    journal = tmp_path / "run" / "certificates.partial"
    journal.write_text("".join(json.dumps(row) + "\n" for row in table[:5]))
    certify_run(asked, tmp_path / "run", quiet=True)
    assert rows(tmp_path / "run") == before  # outcomes too: not one is inherited from itself


def stop_half_way(asked: CertifyJob, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_FAILS_AFTER", "10000")
    with pytest.raises(ModelError):
        certify_run(asked, run, quiet=True)
    monkeypatch.delenv("TOY_FAILS_AFTER")
    assert 0 < len((run / "certificates.partial").read_text().splitlines()) < 12


def test_a_memory_in_the_process_is_filled_again_on_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    asked = job(data, policy="search", memory="memory://")
    certify_run(asked, tmp_path / "whole", quiet=True)
    stop_half_way(asked, tmp_path / "broken", monkeypatch)
    summary = certify_run(asked, tmp_path / "broken", quiet=True)
    assert rows(tmp_path / "broken") == rows(tmp_path / "whole")
    stored = [row for row in rows(tmp_path / "whole") if row["outcome"] != "abstained"]
    assert summary.memory.entries == len(stored)


def test_a_memory_that_lost_answers_is_refused_on_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    asked = job(data, policy="search")
    stop_half_way(asked, tmp_path / "run", monkeypatch)
    kept = (tmp_path / "run" / "certificates.partial").read_text()
    for file in (tmp_path / "run").glob("memory.db*"):
        file.unlink()
    with pytest.raises(RunError, match="does not hold the answer"):
        certify_run(asked, tmp_path / "run", quiet=True)
    assert (tmp_path / "run" / "certificates.partial").read_text() == kept


def test_a_memory_that_cannot_be_opened_leaves_the_directory_free(tmp_path: Path) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    wrong = job(data, policy="search", memory=f"sqlite:///{tmp_path / 'missing' / 'm.db'}")
    with pytest.raises(StoreError):
        certify_run(wrong, tmp_path / "run", quiet=True)
    certify_run(job(data, policy="search"), tmp_path / "run", quiet=True)
    assert len(rows(tmp_path / "run")) == 12


def test_a_password_opens_the_memory_and_is_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def stand_in(url: str, **options: object) -> Memory:
        opened.append((url, options))
        return Memory(f"sqlite:///{tmp_path}/m.db", norm=None if opened[1:] else "l2")

    monkeypatch.setattr("ddrs.engines.local.certify.Memory", stand_in)
    data = toy.write_inputs(tmp_path / "data.npz")
    secret, shown = "postgresql://me:secret@host/db", "postgresql://me@host/db"
    asked = job(data, policy="search", memory=secret)
    stop_half_way(asked, tmp_path / "run", monkeypatch)
    # resumed with the password elsewhere, as PGPASSWORD would have it
    certify_run(replace(asked, memory=shown), tmp_path / "run", quiet=True)
    options = {"norm": "l2", "read_only": False}
    assert opened == [(secret, options), (shown, options)]
    assert json.loads((tmp_path / "run" / "config.json").read_text())["memory"] == shown
    written = [path.read_bytes() for path in (tmp_path / "run").iterdir()]
    assert not any(b"secret" in content for content in written)


def test_the_scale_of_another_noise_is_not_taken_over(tmp_path: Path) -> None:
    training = TrainingConfig(sigma=0.3, epochs=1)
    train_run(TrainJob("digits", "digits-cnn", training), tmp_path / "model", quiet=True)
    asked = CertifyJob("digits", str(tmp_path / "model"), noise="uniform", n=100, limit=2)
    with pytest.raises(ConfigurationError, match="give --sigma"):
        certify_run(asked, tmp_path / "run", quiet=True)
    summary = certify_run(replace(asked, sigma=0.5), tmp_path / "run", quiet=True)
    assert summary.norm == "l1"


def test_a_model_that_fails_stops_the_run_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    certify_run(job(data), tmp_path / "whole", quiet=True)
    monkeypatch.setenv("TOY_FAILS_AFTER", "2000")
    with pytest.raises(ModelError, match=r"inputs \d+ to \d+ of npz.*the toy broke.*sigma 0\.5"):
        certify_run(job(data), tmp_path / "run", quiet=True)
    kept = (tmp_path / "run" / "certificates.partial").read_text().splitlines()
    assert 0 < len(kept) < 12
    monkeypatch.delenv("TOY_FAILS_AFTER")
    certify_run(job(data), tmp_path / "run", quiet=True)
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")


def test_a_bad_input_stops_the_run_and_is_named(tmp_path: Path) -> None:
    data = toy.write_inputs(tmp_path / "data.npz", x3=np.nan)
    with pytest.raises(DataError, match="3"):
        certify_run(job(data), tmp_path / "run", quiet=True)


def test_changed_data_is_refused_on_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    monkeypatch.setenv("TOY_FAILS_AFTER", "2000")
    with pytest.raises(ModelError):
        certify_run(job(data), tmp_path / "run", quiet=True)
    monkeypatch.delenv("TOY_FAILS_AFTER")
    kept = (tmp_path / "run" / "certificates.partial").read_text()
    toy.write_inputs(tmp_path / "data.npz", seed=5)
    with pytest.raises(RunError, match="the data changed"):
        certify_run(job(data), tmp_path / "run", quiet=True)
    assert (tmp_path / "run" / "certificates.partial").read_text() == kept


def test_a_changed_configuration_of_transformers_is_refused_on_resume(tmp_path: Path) -> None:
    from support.transformer import PROCESSOR, save, tiny_vit

    spec = save(tiny_vit(), tmp_path / "m", PROCESSOR)
    np.savez(tmp_path / "data.npz", x=np.zeros((2, 3, 8, 8), np.float32), y=np.zeros(2, np.int64))
    asked = job(f"npz:{tmp_path / 'data.npz'}", model=spec)
    certify_run(asked, tmp_path / "run", quiet=True)
    (tmp_path / "run" / "summary.json").unlink()  # as if it had been interrupted
    certify_run(asked, tmp_path / "run", quiet=True)
    config = tmp_path / "m" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"layer_norm_eps": 0.5}))
    (tmp_path / "run" / "summary.json").unlink()
    with pytest.raises(RunError, match=r"another configuration .*model_digest"):
        certify_run(asked, tmp_path / "run", quiet=True)
    named = replace(asked, identity="the edited one")
    certify_run(named, tmp_path / "named", quiet=True)
    record = json.loads((tmp_path / "named" / "config.json").read_text())
    assert record["identity"] == "the edited one"
    with pytest.raises(ConfigurationError, match="identity"):
        certify_run(replace(asked, identity=" "), tmp_path / "none", quiet=True)
    assert not (tmp_path / "none").exists()


def test_nothing_is_written_before_the_arguments_are_checked(tmp_path: Path) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    with pytest.raises(DataError):
        certify_run(job("npz:missing.npz"), tmp_path / "run", quiet=True)
    with pytest.raises(ModelError, match=r"narrow has 2 classes but npz:.* has 3"):
        certify_run(job(data, model="py:support.toy:narrow"), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["a%20b", "what?", "50 % # done"])
def test_the_name_of_a_run_is_no_part_of_a_url(tmp_path: Path, name: str) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    certify_run(job(data, policy="search"), tmp_path / name, quiet=True)
    assert (tmp_path / name / "memory.db").exists()
    assert audit_run(tmp_path / name).ok
    assert {each.name for each in tmp_path.iterdir()} == {"data.npz", name}


def test_a_network_may_have_more_classes_than_the_data(tmp_path: Path) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    summary = certify_run(job(data, model="py:support.toy:wide"), tmp_path / "wide", quiet=True)
    assert json.loads((tmp_path / "wide" / "config.json").read_text())["num_classes"] == 10
    plain = certify_run(job(data), tmp_path / "plain", quiet=True)
    assert summary.clean_accuracy == plain.clean_accuracy == 1
    radii = [[row["radius"] for row in rows(tmp_path / run)] for run in ("wide", "plain")]
    assert radii[0] == radii[1]


@pytest.mark.parametrize(
    ("seconds", "sizes"),
    [
        (lambda size: 0.01 * size, [1, 8, 64, 400, 400]),  # a few seconds of fast inputs
        (lambda size: 5.0 * size, [1, 2, 1, 1]),  # nothing gained together
        (lambda size: 8.0 + 2.2 * size, [1, 2, 4, 8, 16, 8, 8]),  # gained together, up to 8
        (lambda size: 20.0 + 0.1 * size, [1, 2, 4, 8, 16, 32, 64, 128, 234]),  # up to a minute
        (lambda size: 100.0, [1, 1, 1]),
    ],
)
def test_a_group_is_a_few_seconds_of_work_or_what_is_faster_together(
    seconds: Callable[[int], float], sizes: list[int]
) -> None:
    group = GroupSize()
    for size in sizes:
        assert group.size == size
        group.record(seconds(size))


def test_a_run_of_a_configuration_with_keys_that_nobody_knows_is_another(tmp_path: Path) -> None:
    asked = job(toy.write_inputs(tmp_path / "data.npz"))
    certify_run(asked, tmp_path / "run", quiet=True)
    file = tmp_path / "run" / "config.json"
    known = json.loads(file.read_text())
    for unknown in ({"router": "x"}, {"policy": {**known["policy"], "ghost": 1}}):
        file.write_text(json.dumps({**known, **unknown}))
        with pytest.raises(RunError, match=r"another configuration \((router|policy): "):
            certify_run(asked, tmp_path / "run", quiet=True)
    file.write_text(json.dumps(known))
    assert certify_run(asked, tmp_path / "run", quiet=True).inputs == 12


def test_runs_that_share_a_memory_share_alpha(tmp_path: Path) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    small = job(data, policy="search", memory=f"sqlite:///{tmp_path}/m.db", alpha=1e-9, n=80)
    more = replace(small, alpha=0.05, n=400, seed=2)
    for name, asked in (("a", small), ("b", more), ("c", replace(more, seed=3))):
        certify_run(asked, tmp_path / name, quiet=True)
        assert audit_run(tmp_path / name).ok
    first, second, third = (rows(tmp_path / name) for name in "abc")
    tried = [k for k, row in enumerate(first) if row["outcome"] == "abstained"]
    assert {second[k]["alpha"] for k in tried} == {alpha_left(0.05, 1e-9)}
    assert {"own", "abstained"} <= {str(second[k]["outcome"]) for k in tried}
    assert third == second  # nothing is left
    assert all(second[k] == first[k] for k in range(len(first)) if k not in tried)


def test_abstentions_that_were_stored_and_not_yet_written_are_those_of_an_unbroken_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    asked = job(data, n=40)
    whole, broken = (
        replace(asked, memory=f"sqlite:///{tmp_path}/{name}.db") for name in ("whole", "broken")
    )
    certify_run(whole, tmp_path / "whole", quiet=True)
    assert "abstained" in {row["outcome"] for row in rows(tmp_path / "whole")}

    append = Run.append

    def killed(run: Run[CertifyConfig], made: Iterable[CertifiedRow]) -> None:
        made = list(made)
        if any(row.certificate.outcome == "abstained" for row in made):
            raise KeyboardInterrupt
        append(run, made)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "append", killed)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                certify_run(broken, tmp_path / "broken", quiet=True)
    with Memory(broken.memory, read_only=True) as memory:
        tries = list(memory.abstentions())
    assert tries
    certify_run(broken, tmp_path / "broken", quiet=True)
    assert rows(tmp_path / "broken") == rows(tmp_path / "whole")
    with Memory(broken.memory, read_only=True) as memory:
        assert list(memory.abstentions())[: len(tries)] == tries


@pytest.mark.parametrize("changed", ["x", "y"])
def test_data_that_changed_beyond_the_finished_rows_are_refused_on_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    asked = job(data, policy="search")
    stop_half_way(asked, tmp_path / "run", monkeypatch)
    with np.load(tmp_path / "data.npz") as file:
        kept = dict(file)
    other = {name: values.copy() for name, values in kept.items()}
    other[changed][-1] = (other[changed][-1] + 1) % toy.CLASSES
    np.savez(tmp_path / "data.npz", **other)
    with pytest.raises(RunError, match="not those that the run was made for: the data changed"):
        certify_run(asked, tmp_path / "run", quiet=True)
    np.savez(tmp_path / "data.npz", **kept)
    certify_run(asked, tmp_path / "run", quiet=True)
    np.savez(tmp_path / "data.npz", **other)
    with pytest.raises(RunError, match="the data changed"):  # nor are they those of its figures
        certify_run(asked, tmp_path / "run", quiet=True)
    beyond = replace(asked, limit=11)
    certify_run(beyond, tmp_path / "eleven", quiet=True)
    np.savez(tmp_path / "data.npz", **kept)
    certify_run(beyond, tmp_path / "eleven", quiet=True)  # what it does not certify may change


def test_a_run_that_recorded_no_digest_of_its_data_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    asked = job(data, policy="search")
    stop_half_way(asked, tmp_path / "run", monkeypatch)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert len(config.pop("data_digest")) == 64
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    certify_run(asked, tmp_path / "run", quiet=True)
    certify_run(asked, tmp_path / "whole", quiet=True)
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")
    assert audit_run(tmp_path / "run").ok
