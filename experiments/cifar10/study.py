"""The study of CIFAR-10: trains its models, certifies its rows, and tries to break the answers.

    python experiments/cifar10/study.py prepare --cifar10 DIR --resnet20 FILE
    python experiments/cifar10/study.py run [ROW ...] [--jobs 2] [--precision fp32]
    python experiments/cifar10/study.py show [ROW ...]

A file of `plan/models/` is the options of one `ddrs train`, one of `plan/rows/` those of one
`ddrs certify`; what all have in common is in `plan/study.toml`. Two further names stand beside the
rows: `stream`, which makes a data set that is hard for a memory and certifies it, and `attack`,
which attacks a row.

`prepare` puts the data and the starting weights where all these expect them. `run` does what is not
done yet, the rows in their order, and can be stopped at any moment: the same command resumes. It
copies what came of a row to `records/results/`, the records of a training to `records/trained/`,
and what came of the other two to `records/stream/` and `records/attack/`. `show` prints the
commands. Each file says whether its arithmetic is bf16 or fp32; `--precision fp32` overrides all of
them, for a processor that has no bf16. The report says which rows are in bf16.

Run it from the root of the project.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from ddrs import models
from ddrs.networks.identity import model_digest
from ddrs.training.splits import split

HERE = Path(__file__).parent
RUNS = Path("runs/cifar10")
PLAN, RECORDS = HERE / "plan", HERE / "records"
RESULTS, TRAINED = RECORDS / "results", RECORDS / "trained"
PROBES = "experiments.cifar10.probes"
STREAM, ATTACK = "stream", "attack"
FORCED = "forced"  # options that override those of every file
PRECISIONS = ("fp32", "bf16")
KEPT = ("config.json", "summary.json", "certificates.parquet", "epochs.csv")


@dataclass
class Task:
    """One command, and the tasks that must be done before it.

    Attributes:
        name: a name for messages.
        words: of the command; the last one is its run directory, or the file that it makes.
        kept: where what came of it is kept.
        after: what it needs.
    """

    name: str
    words: list[str]
    kept: Path
    after: list[Task] = field(default_factory=list)

    @property
    def out(self) -> Path:
        return Path(self.words[-1])

    @property
    def done(self) -> bool:
        return self.out.is_file() or (self.out / "summary.json").exists()

    @property
    def command(self) -> list[str]:
        """The words, with this Python in place of the programs."""
        program, *others = self.words
        return [sys.executable, *(["-m", program] if program == "ddrs" else []), *others]


def tasks(names: list[str], precision: str | None = None) -> list[Task]:
    """The tasks of the named rows, of all for none, in order, each model before its first row.

    A precision that is given overrides that of every file.

    After each row that the report may choose (`candidate`, true unless its file says otherwise)
    comes the same on validation inputs, by which it chooses. A row may be certified on further test
    inputs too (`confirm`), which confirm the comparison. The stream and the attack come last.
    """
    common = read(PLAN / "study.toml")
    common[FORCED] = {} if precision is None else {"precision": precision}
    rows = read_rows(PLAN)
    unknown = sorted({*names} - {*rows, STREAM, ATTACK})
    if unknown:
        known = ", ".join([*sorted(rows), STREAM, ATTACK])
        sys.exit(f"no such row: {', '.join(unknown)}; there are {known}")
    found: dict[str, Task] = {}
    for name, row in rows.items():
        if not names or name in names:
            for task in certified(name, row, common, found):
                found[task.name] = task
    last = [
        task
        for name, make in ((STREAM, stream), (ATTACK, attack))
        if not names or name in names
        for task in make(rows, common, found)
    ]
    return [*found.values(), *last]


def certified(
    name: str, row: dict[str, Any], common: dict[str, Any], found: dict[str, Task]
) -> list[Task]:
    """The tasks of a row, on test inputs first; its models are added to those found."""
    models = [
        training(each, common, found) for each in (row["model"], *row.get("alternatives", []))
    ]
    options = options_of(row, common)
    kept = RESULTS / name
    row_tasks = [Task(name, ddrs("certify", options, RUNS / "rows" / name), kept, models)]
    for inputs, folder, wanted in (
        ("validation", "validated", row.get("candidate", True)),
        ("confirmation", "confirmed", row.get("confirm", False)),
    ):
        if wanted:
            words = ddrs("certify", options | common[inputs], RUNS / folder / name)
            row_tasks.append(Task(f"{name} on {inputs} inputs", words, kept / inputs, models))
    return row_tasks


def options_of(row: dict[str, Any], common: dict[str, Any]) -> dict[str, Any]:
    """The options of a row's `ddrs certify`."""
    model, *others = (
        str(RUNS / "models" / each) for each in (row["model"], *row.get("alternatives", []))
    )
    options = common["certify"] | {"model": model} | row["certify"] | common[FORCED]
    return options | ({"alternative": others} if others else {})


def stream(
    rows: dict[str, Any], common: dict[str, Any], found: dict[str, Task]
) -> tuple[Task, Task]:
    """The tasks that make the stream and certify it as a row is certified."""
    options = dict(common[STREAM])
    row = rows[options.pop("row")]
    model = training(row["model"], common, found)
    options |= {"data": common["certify"]["data"], "model": model.out}
    file = RUNS / "stream.npz"
    made = Task("the stream", probe(STREAM, options, file), kept=RECORDS / STREAM, after=[model])
    asked = options_of(row, common) | common["certify-stream"] | common[FORCED]
    asked |= {"data": f"npz:{file}"}
    words = ddrs("certify", asked, RUNS / STREAM)
    return made, Task(STREAM, words, kept=RECORDS / STREAM, after=[made])


def attack(rows: dict[str, Any], common: dict[str, Any], found: dict[str, Task]) -> tuple[Task]:
    """The task that attacks a row, which is added to those found."""
    options = dict(common[ATTACK])
    name = options.pop("row")
    if name not in found:
        found[name], *_ = certified(name, rows[name], common, found)
    row = found[name]
    words = probe(ATTACK, options, RUNS / "attack.json", str(row.out))
    return (Task(ATTACK, words, kept=RECORDS / ATTACK, after=[row]),)


def training(name: str, common: dict[str, Any], found: dict[str, Task]) -> Task:
    """The task of a model, added to those found after the model that it starts from."""
    key = f"model {name}"
    if key not in found:
        options = common["train"] | read(PLAN / "models" / f"{name}.toml") | common[FORCED]
        start = Path(options["init"])
        after = [training(start.name, common, found)] if start.parent == RUNS / "models" else []
        words = ddrs("train", options, RUNS / "models" / name)
        found[key] = Task(key, words, kept=TRAINED / name, after=after)
    return found[key]


def ddrs(command: str, options: dict[str, Any], out: Path) -> list[str]:
    """A `ddrs` command with these options by name."""
    return ["ddrs", command, *flags(options), "--out", str(out)]


def probe(name: str, options: dict[str, Any], out: Path, *words: str) -> list[str]:
    """The command of a probe of this study, its words before its options."""
    return ["python", "-m", f"{PROBES}.{name}", *words, *flags(options), "--out", str(out)]


def flags(options: dict[str, Any]) -> list[str]:
    """Options by name as words of a command: a list for an option given several times."""
    words = []
    for key, value in options.items():
        if value is True:
            words.append(f"--{key}")
            continue
        for one in value if isinstance(value, list) else [value]:
            words += [f"--{key}", str(one)]
    return words


def read(path: Path) -> dict[str, Any]:
    """What a file of the plan says."""
    return tomllib.loads(path.read_text())


def read_rows(plan: Path) -> dict[str, dict[str, Any]]:
    """The rows of a plan by their names, in their order."""
    rows = {path.stem: read(path) for path in (plan / "rows").glob("*.toml")}
    return dict(sorted(rows.items(), key=lambda named: (named[1]["order"], named[0])))


def run(todo: list[Task], jobs: int) -> None:
    """Carry out tasks, the first one that can start first, `jobs` at a time; keep what comes."""
    for task in todo:
        if task.done:
            keep(task)
    waiting = [task for task in todo if not task.done]
    failed: list[str] = []
    change = threading.Condition()
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    environment = {"OMP_NUM_THREADS": threads, **os.environ}

    def next_task() -> Task | None:
        with change:
            while waiting and not failed:
                for task in waiting:
                    if all(one.done for one in task.after):
                        waiting.remove(task)
                        return task
                change.wait()
        return None

    def work() -> None:
        while (task := next_task()) is not None:
            print(f"{task.name}: {shlex.join(task.words)}", flush=True)
            try:
                code = subprocess.run(task.command, env=environment, check=False).returncode
            except OSError as error:
                print(f"{task.name}: {error}", file=sys.stderr)
                code = 1
            with change:
                if code or not task.done:
                    failed.append(task.name)
                else:
                    keep(task)
                change.notify_all()

    workers = [threading.Thread(target=work) for _ in range(jobs)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def keep(task: Task) -> None:
    """Copy what came of a task that is done into the project; of a stream all but its images."""
    task.kept.mkdir(parents=True, exist_ok=True)
    if task.out.suffix == ".npz":
        with np.load(task.out) as stream:
            about = zip(stream["kind"], stream["origin"], strict=True)
            lines = ["kind,origin", *(f"{kind},{origin}" for kind, origin in about)]
        (task.kept / "stream.csv").write_text("\n".join(lines) + "\n")
        return
    for file in [task.out] if task.out.is_file() else [task.out / name for name in KEPT]:
        if file.exists():
            shutil.copyfile(file, task.kept / file.name)
    if task.kept.parent == TRAINED:
        text = json.dumps(classifiers(task.out), indent=2) + "\n"
        (task.kept / "classifiers.json").write_text(text)


def classifiers(run: Path) -> dict[str, str]:
    """The digests by which certificates know a trained model, each by its arithmetic."""
    module = models.load(str(run)).module
    return {
        precision + ", compiled" * compiled: model_digest(module, precision, compiled=compiled)
        for precision in PRECISIONS
        for compiled in (False, True)
    }


def prepare(cifar10: Path, resnet20: Path) -> None:
    """Put the data (`train.parquet`, `test.parquet`) and the weights under `runs/`.

    The training examples that no model is trained on under noise become the test split of a dataset
    of their own, the validation inputs, and so do the test inputs after those that rows are
    certified on, the confirmation inputs.
    """
    common = read(PLAN / "study.toml")
    (RUNS / "data").mkdir(parents=True, exist_ok=True)
    sources = {"resnet20.safetensors": resnet20}
    sources |= {f"data/{name}": cifar10 / name for name in ("train.parquet", "test.parquet")}
    for name, source in sources.items():
        put(source, RUNS / name)
        with source.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != common["files"][name]:
                print(f"{source} is not what the study was made with: figures will differ")
    options = common["train"]
    examples = pq.read_table(RUNS / "data" / "train.parquet", pre_buffer=False)
    _, held_out = split(len(examples), options["validation"], options["seed"])
    tests = pq.read_table(RUNS / "data" / "test.parquet", pre_buffer=False)
    for name, some in (
        ("validation", examples.take(held_out.numpy())),
        ("confirmation", tests.slice(common["certify"]["limit"])),
    ):
        (RUNS / name).mkdir(exist_ok=True)
        pq.write_table(some, RUNS / name / "test.parquet")


def put(source: Path, target: Path) -> None:
    """The file itself, without a copy where one disk holds both: a dataset has no links."""
    if not source.exists():
        sys.exit(f"no file at {source}")
    target.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("prepare", help="put data and weights in place")
    command.add_argument("--cifar10", type=Path, required=True, metavar="DIR")
    command.add_argument("--resnet20", type=Path, required=True, metavar="FILE")
    for name, text in (("run", "do what is not done yet"), ("show", "print the commands")):
        command = commands.add_parser(name, help=text)
        command.add_argument("rows", nargs="*", metavar="ROW")
        command.add_argument(
            "--precision", choices=PRECISIONS, help="of all, whatever the files say"
        )
        if name == "run":
            command.add_argument("--jobs", type=int, default=1, help="commands at a time")
    asked = parser.parse_args()
    if asked.command == "prepare":
        prepare(asked.cifar10, asked.resnet20)
        return
    todo = tasks(asked.rows, asked.precision)
    if asked.command == "show":
        print("\n".join(shlex.join(task.words) for task in todo))
        return
    run(todo, asked.jobs)


if __name__ == "__main__":
    main()
