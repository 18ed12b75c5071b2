"""Commands that can never work: exit code 2, one line that says why, and nothing written."""

import shlex
from pathlib import Path

import pytest

from support.terminal import run

LOG = "idx\tlabel\tpredict\tradius\tcorrect\ttime\n0\t3\t3\t0.61\t1\t0:00:13.5\n"
NINES = "9" * 30

CERTIFY = "certify --data digits --model py:support.toy:linear --out out"
POLICY = f"{CERTIFY} --sigma 0.5 --policy"
TRAIN = "train --data digits --sigma 0.3 --out out"
ADAPT = f"{TRAIN} --data-dependent"
STEP = f"{TRAIN} --schedule step --milestones 3 --gamma"

WRONG = {
    "Missing ": [
        "certify", "certify --data digits --out out", "train --data digits --out out", "table",
        "report log", "audit", "memory stats", "memory export sqlite:///m.db", "memory import m",
    ],
    "No such": ["magic", "--nope", f"{CERTIFY} --nope", "memory magic", "table log --nope"],
    "unexpected extra": [f"{CERTIFY} more", "audit log more", "demo more"],
    "it is empty": [
        "certify --data '' --model m --out out", "certify --data digits --model '' --out out",
        "certify --data digits --model m --out ''", "certify --data digits --model m --out ' '",
        f"{CERTIFY} --weights ''", f"{CERTIFY} --alternative ''", f"{CERTIFY} --memory ''",
        "train --data digits --sigma 1 --out ''", "train --data '' --sigma 1 --out out",
        f"{TRAIN} --init ''", f"{TRAIN} --arch ''", f"{TRAIN} --option ''", "demo --out ''",
        "table ''", "table log ''", "table log --radii ''", "report log --out ''", "audit ''",
        "memory stats ''", "memory export sqlite:///m.db --out ''", "memory import m --memory ''",
    ],
    "it is given twice": [
        f"{CERTIFY} --n 100 --n 200", f"{CERTIFY} --n 100 --n 100", f"{CERTIFY} --out other",
        f"{CERTIFY} --compile --compile", f"{TRAIN} --augment --no-augment", f"{TRAIN} --sigma 1",
        f"{TRAIN} --preset cifar10 --preset imagenet", "demo --out a --out b",
        "table log --radii 0 --radii 1", "report log --out a.html --out b.html",
        "audit log --orders 1 --orders 2",
        "memory import m --memory sqlite:///a.db --memory sqlite:///b.db",
    ],
    "unknown dataset": [
        f"certify --data {data} --model py:support.toy:linear --out out"
        for data in ("npz:", "hf:", "parquet:", "folder:", ":", "nonsense")
    ],
    "unknown model": [
        f"certify --data digits --model {model} --out out"
        for model in ("hf:", "timm:", "torchvision:", "py:", "nonsense")
    ],
    "is incomplete": [
        f"certify --data digits --model {model} --out out"
        for model in ("py:a", "py:a:", "py::b", "py:..:b")
    ],
    "--selection all": [f"{POLICY} fixed --selection all", f"{POLICY} search --selection all"],
    "is an option of": [
        f"{POLICY} fixed --low nan", f"{POLICY} search --steps 3", f"{POLICY} gradient "
        "--search-votes 99", f"{CERTIFY} --high 1", f"{TRAIN} --sigma-lr 0.1",
    ],
    "sigma must": [
        *(f"{POLICY} {policy} {option}" for policy in ("gradient", "search") for option in (
            "--low nan", "--low inf", "--low -1", "--low 0", "--high nan", "--high inf", "--high 0",
        )),
        "certify --data digits --model m --policy search --low nan --out out",
        "certify --data digits --model m --policy search --high inf --out out",
        "certify --data digits --model m --policy search --low 2 --high 1 --out out",
        f"{CERTIFY} --policy search --sigma nan", f"{CERTIFY} --policy search --sigma inf",
        "train --data digits --sigma inf --out out", "train --data digits --sigma nan --out out",
        f"{ADAPT} --sigma-low nan", f"{ADAPT} --sigma-high inf", f"{TRAIN} --sigma-range nan,1",
        f"{TRAIN} --sigma-range 0.1,inf", f"{TRAIN} --sigma-range 1,2",
    ],
    "sigma": [f"{CERTIFY} --sigma {sigma}" for sigma in ("0", "-1", "nan", "inf")],
    "lr": [
        *(f"{POLICY} gradient --lr {lr}" for lr in ("inf", "nan", "0", "-1")),
        *(f"{TRAIN} --lr {lr}" for lr in ("inf", "nan", "0", "-1")),
        *(f"{ADAPT} --sigma-lr {lr}" for lr in ("inf", "nan", "0", "-1")),
    ],
    "radii": [
        *(f"{CERTIFY} --at-radii {radii}" for radii in ("inf", "nan", "-1", ",", "0.5;1")),
        *(f"table log --radii {radii}" for radii in ("inf", "nan", "-1", "1,", "0,inf")),
        *(f"report log --out page.html --radii {radii}" for radii in ("inf", "nan", "-1")),
    ],
    "tolerance": [f"{CERTIFY} --radius-tolerance {t}" for t in ("inf", "nan", "0", "-1")],
    "not both": [f"{CERTIFY} --radius-tolerance 0.1 --at-radii 0.5"],
    "alpha": [f"{CERTIFY} --alpha {alpha}" for alpha in ("nan", "inf", "0", "1", "-1")],
    "vote": [
        f"{CERTIFY} --n 0", f"{CERTIFY} --n -1", f"{CERTIFY} --n0 0", f"{CERTIFY} --n {2**60}",
        f"{POLICY} search --search-votes 3",
    ],
    "no number as large": [
        *(f"{CERTIFY} --{name} {NINES}" for name in ("n", "n0", "batch-size", "seed", "limit")),
        f"{POLICY} search --search-votes {NINES}", f"{POLICY} gradient --draws {NINES}",
        f"{TRAIN} --epochs {NINES}", f"{TRAIN} --batch-size {NINES}",
        f"{ADAPT} --sigma-draws {NINES}", f"{TRAIN} --method macer --option k={NINES}",
    ],
    "can certify nothing": [
        f"{CERTIFY} --n 9", f"{CERTIFY} --n 10 --bound two-sided",
        f"{CERTIFY} --n 50 --alpha 1e-16",
    ],
    "limit": [f"{CERTIFY} --limit 0", f"{CERTIFY} --limit -3"],
    "batch_size": [f"{POLICY} fixed --batch-size 0", f"{TRAIN} --batch-size 1"],
    "seed": [
        f"{CERTIFY} --seed -1", f"{TRAIN} --seed -1", f"{CERTIFY} --seed {2**63}",
        "audit run --orders 2 --seed -1", f"audit run --orders 2 --seed {2**63}",
        "audit run --seed 3",
    ],
    "orders": ["audit run --orders 0", "audit run --orders -1"],
    "validation": [f"{TRAIN} --validation {v}" for v in ("-5", "-0.5", "1.5", "nan", "inf")],
    "weight_decay": [f"{TRAIN} --weight-decay {w}" for w in ("nan", "inf", "-1")],
    "epochs": [f"{TRAIN} --epochs 0"],
    "milestones": [
        f"{TRAIN} --milestones 3", f"{TRAIN} --schedule cosine --milestones 3",
        f"{TRAIN} --schedule step", f"{TRAIN} --schedule step --milestones 3,2",
        f"{TRAIN} --schedule step --milestones 60", f"{TRAIN} --schedule step --milestones inf",
    ],
    "gamma": [
        f"{TRAIN} --gamma 0.5", f"{TRAIN} --schedule cosine --gamma 0.1",
        f"{TRAIN} --preset cifar10 --schedule cosine --gamma 0.5",
        *(f"{STEP} {gamma}" for gamma in ("nan", "inf", "0", "1")),
        f"{TRAIN} --method macer --option gamma=NaN",
    ],
    "--option": [
        f"{TRAIN} --option =", f"{TRAIN} --option k", f"{TRAIN} --method macer --option k=4 "
        "--option k=5",
    ],
    "Macer needs": [f"{TRAIN} --method macer --option {o}" for o in ("k=0", "weight=Infinity")],
    "epsilon": [f"{TRAIN} --method smoothadv --option epsilon={e}" for e in ("NaN", "Infinity")],
    "is not one of": [
        f"{CERTIFY} --bound both", f"{CERTIFY} --split all", f"{CERTIFY} --precision fp8",
        f"{POLICY} magic", f"{TRAIN} --schedule magic", "table log --format x",
    ],
    "noise": [f"{CERTIFY} --noise cauchy", f"{TRAIN} --noise cauchy"],
    "no memory URL": [
        f"{CERTIFY} --memory x", f"{CERTIFY} --memory sqlite://", f"{CERTIFY} --memory memory://x",
        "memory stats m.db", "memory import m --memory m.db", "audit foo://bar",
    ],
    "URL": [
        f"{CERTIFY} --memory memory:// --read-only", f"{CERTIFY} --read-only",
        "memory import m --memory memory://",
    ],
    "end in .html": ["report log --out page.txt"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("command", "message"),
    [(command, message) for message, commands in WRONG.items() for command in commands],
)
def test_it_is_refused_in_one_line(
    command: str,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log").write_text(LOG)
    code, out, err = run(capsys, *shlex.split(command))
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    assert message in err
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


SECRET = "pa55/w@rd"
URLS = [
    f"postgresql://user:{SECRET}@host/db?sslkey={SECRET}", f"postgres:user:{SECRET}@host",
    f"postgresql//user:{SECRET}@host/db", f"postgresql:/user:{SECRET}@host/db",
    f"https://host/file?token={SECRET}", f" POSTGRESQL+psycopg://u:{SECRET}@h/d",
]  # fmt: skip
TAKES_NO_URL = [
    "table {}", "table log {}", "report {} --out out.html", "report log --out {}", "{}",
    "demo --out {}", "demo {}", "memory {}", "memory import {} --memory sqlite:///m.db",
    "memory export sqlite:///m.db --out {}", "memory stats sqlite:///m.db {}", "table --{}",
    "certify --data {} --model m --out out", "certify --data digits --model {} --out out",
    "certify --data digits --model m --out {}", CERTIFY + " --n {}", CERTIFY + " --weights {}",
    "train --data {} --sigma 1 --out out", TRAIN + " --init {}", "table log --radii {}",
]  # fmt: skip


@pytest.mark.parametrize("command", TAKES_NO_URL)
def test_no_message_repeats_a_url(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("log").write_text(LOG)
    for url in URLS:
        words = [word.replace("{}", url) for word in command.split()]
        code, out, err = run(capsys, *words)
        assert (code, out, len(err.splitlines())) == (2, "", 1), err
        assert "URL" in err
        assert not any(part in err for part in ("55", "rd", "host", "user"))
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_what_only_looks_like_a_url_and_is_there_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("memory:log").write_text(LOG)
    assert run(capsys, "table", "memory:log")[0] == 0
