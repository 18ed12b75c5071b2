"""A page about runs that were made, and what is said where there is none to make."""

import html
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ddrs.cli.commands import main
from ddrs.engines.local.certify import certify_run
from ddrs.errors import ConfigurationError, DataError, RunError
from ddrs.finished import report as reports
from ddrs.finished.report import write_report
from ddrs.jobs.certify import CertifyJob
from support import toy


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    data = toy.write_inputs(tmp_path / "data.npz")
    job = CertifyJob(
        data, "py:support.toy:linear", alternatives=("py:support.toy:another",), policy="search",
        sigma=0.5, n=400, at_radii=(0.25, 0.5), settings={"votes": 200}, limit=8,
    )  # fmt: skip
    certify_run(job, tmp_path / "run", quiet=True)
    return tmp_path / "run"


def test_the_command_on_the_page_makes_the_same_run_again(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished.parent)
    out = Path("page.html")
    write_report([finished], out)
    (command,) = re.findall(r"<pre>(.*?)</pre>", out.read_text(), re.DOTALL)
    program, *words = shlex.split(html.unescape(command))
    assert program == "ddrs"
    with pytest.raises(SystemExit) as exit_:
        main(words)
    assert not exit_.value.code
    again = Path(words[-1])
    assert again == Path("runs/run-again")
    made = [json.loads((run / "config.json").read_text()) for run in (finished, again)]
    assert made[0] == made[1]  # the seed that the run drew included
    rows = [
        pq.read_table(run / "certificates.parquet").drop_columns("seconds").to_pylist()
        for run in (finished, again)
    ]
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "All certificates are about one smoothed classifier."),
        ({"memory": "run"}, "a memory of certified regions answers first"),
        (
            {"policy": "search", "settings": {"votes": 200}},
            "a memory of certified regions answers first",
        ),
        (
            {"policy": "search", "memory": "none", "settings": {"votes": 200}},
            "they do NOT hold together",
        ),
        (
            {"policy": "search", "memory": "none",
             "settings": {"low": 0.5, "high": 0.5, "votes": 200},
             "alternatives": ("py:support.toy:another",)},
            "they do NOT hold together",
        ),
    ],
)  # fmt: skip
def test_what_the_certificates_are_about_is_said(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    job = CertifyJob(data, "py:support.toy:linear", sigma=0.5, n=400, seed=1, **changes)
    certify_run(job, tmp_path / "run", quiet=True)
    write_report([tmp_path / "run"], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    claims = ("All certificates are about one", "answers first", "do NOT hold together")
    assert [claim in page for claim in claims] == [claim in said for claim in claims]
    assert said in page


def test_inputs_that_a_read_only_memory_does_not_know_are_told(finished: Path) -> None:
    url = f"sqlite:///{finished / 'memory.db'}"
    config = json.loads((finished / "config.json").read_text())
    job = CertifyJob(
        config["data"], "py:support.toy:linear", alternatives=("py:support.toy:another",),
        policy="search", sigma=0.5, n=400, settings={"votes": 200}, memory=url, read_only=True,
    )  # fmt: skip
    certify_run(job, finished.parent / "reader", quiet=True)
    out = finished.parent / "page.html"
    write_report([finished.parent / "reader"], out)
    page = out.read_text()
    assert "not recorded in it, have radius 0" in page
    assert re.search(r"inputs: \d+ own, \d+ unrecorded", page)


def test_runs_and_logs_share_a_page(finished: Path) -> None:
    log = finished.parent / "cohen.tsv"
    log.write_text("idx\tlabel\tpredict\tradius\tcorrect\ttime\n0\t3\t3\t0.61\t1\t0:00:13.5\n")
    out = finished / "report.html"
    write_report([finished, log], out, [0.5])
    page = out.read_text()
    assert "<h2>run</h2>" in page
    assert "<h2>cohen</h2>" in page
    assert re.findall(r"<th>(r = [^<]*)</th>", page) == ["r = 0.50"]
    assert "NOT all on the same inputs" in page


def test_the_figure_has_the_sigma_of_each_input(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(reports, "report_page", lambda some, *_: seen.extend(some) or "page")
    write_report([finished], finished / "page.html")
    (one,) = seen
    rows = pq.read_table(finished / "certificates.parquet")
    assert one.run.sigmas == rows["sigma"].to_pylist()


def test_a_page_replaces_no_file_of_another_kind(finished: Path) -> None:
    file = finished / "certificates.parquet"
    before = file.read_bytes()
    with pytest.raises(ConfigurationError, match=r"does not end in \.html"):
        write_report([finished], file)
    assert file.read_bytes() == before


def test_without_all_it_needs_an_earlier_page_is_kept(finished: Path) -> None:
    out = finished / "report.html"
    write_report([finished], out)
    before, config = out.read_bytes(), json.loads((finished / "config.json").read_text())
    for changes in ({"policy": {}}, {"policy": "fixed"}, {"alternatives": 3}, {"alpha": "0.1"}):
        (finished / "config.json").write_text(json.dumps(config | changes))
        with pytest.raises(RunError, match=r"config\.json .*restore it from a copy"):
            write_report([finished], out)
    for text in ("[", "[]", json.dumps({"data": "digits"})):
        (finished / "config.json").write_text(text)
        with pytest.raises(RunError, match=r"config\.json|is not a run of"):
            write_report([finished], out)
    with pytest.raises(DataError, match="not a finished run"):
        write_report([finished.parent], out)
    (finished / "config.json").write_text(json.dumps(config))
    (finished / "summary.json").rename(finished / "elsewhere.json")
    with pytest.raises(RunError, match="is not finished"):
        write_report([finished], out)
    (finished / "elsewhere.json").rename(finished / "summary.json")
    with pytest.raises(RunError, match=r"there is no directory .*make it first"):
        write_report([finished], finished / "no" / "where.html")
    assert out.read_bytes() == before
