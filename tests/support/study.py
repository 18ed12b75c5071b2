"""A study whose certificates are made up."""

import json
import shutil
from itertools import dropwhile, takewhile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddrs.evaluation.summary import summarise
from ddrs.jobs.config import CertifyConfig
from ddrs.runs.table import read_certificates
from ddrs.sigma.policies import POLICIES
from experiments.cifar10.report import build, cells, stored
from experiments.cifar10.study import read
from support.certified import COLUMNS

MODELS = {
    "one": 'method = "gaussian"',
    "two": 'method = "gaussian"',
    "each": 'method = "gaussian"\ndata-dependent = true',
    "range": 'method = "macer"\nsigma-range = "0.1,0.75"',
    "box": 'method = "gaussian"\nnoise = "uniform"',
}
# name: model and further ones to choose from, certify options, False if it may not be chosen,
# "confirm" if it is to be confirmed
ROWS = {
    "fixed-1": ("one", 'policy = "fixed"', False),
    "fixed-2": ("two", 'policy = "fixed"', False),
    "ds-1": ("one", 'policy = "search"'),
    "ds-2": ("two", 'policy = "search"'),
}
# of every input, whatever its radius
COUNTS = {"count": 900, "runner_up": 20, "n": 1000, "alpha": 0.001, "looks": 2, "norm": "l2"}
OTHERS = {"outcome": "own", "own_prediction": 0, "own_radius": 0.0, "bound": "one-sided"}
OTHERS |= {"p_lower": 0.5, "p_upper": 0.5, "n0": 100, "votes": 300, "seed": 0, "version": "0"}
OTHERS |= {"input_digest": "made up", "model_digest": "made up"}


class Study:
    """A study in a folder of its own, and its results."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.plan, self.records = folder, folder / "plan", folder / "records"
        self.results, self.out = self.records / "results", folder / "out"
        self.results.mkdir(parents=True)
        self.has(ROWS)
        monkeypatch.setattr(build, "PLAN", self.plan)
        monkeypatch.setattr(build, "RECORDS", self.records)
        monkeypatch.setattr(cells, "RESAMPLES", 1000)
        pairs = '[["ds-1", "fixed-1"], ["ds-2", "fixed-2"]]'
        text = f"[stream]\ndistance = 0.5\n[differences]\npairs = {pairs}\n"
        (self.plan / "study.toml").write_text(text)

    def has(self, rows):
        for kind in ("rows", "models"):
            shutil.rmtree(self.plan / kind, ignore_errors=True)
            (self.plan / kind).mkdir(parents=True)
        texts = {f"models/{name}": f"{text}\nsigma = 0.25" for name, text in MODELS.items()}
        for order, (name, (model, options, *chosen)) in enumerate(rows.items()):
            model, *others = model.split()
            about = f'title = "Row {name}"\norder = {order}\nmodel = "{model}"'
            about += f"\nalternatives = {json.dumps(others)}" * bool(others)
            about += "\ncandidate = false" * (False in chosen)
            about += "\nconfirm = true" * ("confirm" in chosen)
            texts[f"rows/{name}"] = f"{about}\n[certify]\n{options}"
        for name, text in texts.items():
            (self.plan / f"{name}.toml").write_text(text)

    def put(
        self,
        name,
        radii,
        *,
        validation=None,
        confirmation=None,
        sigma=0.25,
        at_radii=None,
        training="",
        validated="",
        precision="fp32",
        wrong=None,
    ):
        """Results of a row: a radius per input, None for a wrong answer.

        A word for a training, of the row's further results too, sets its classifiers apart. Wrong
        answers have the radii of `wrong`, None for an abstention, or else a large one.
        """
        folder, file = self.results / name, self.plan / "rows" / f"{name}.toml"
        row = read(file) if file.exists() else None
        write_results(folder, radii, sigma, at_radii, row, training, precision, wrong)
        for part, some in (("validation", validation), ("confirmation", confirmation)):
            if some is not None:
                of = validated or training
                write_results(folder / part, some, sigma, at_radii, row, of, precision)

    def tables(self):
        build.build(self.plan, self.records, self.out)
        return (self.out / "tables.md").read_text()

    def entries(self):
        return stored.read_study(self.plan, self.results)


SETTINGS = {"draws": "n", "search-votes": "votes"}


def write_results(
    folder, radii, sigma, at_radii, row=None, training="", precision="fp32", wrong=None
):
    row = row or {"model": "one", "certify": {"policy": "search"}}
    folder.mkdir(parents=True)
    correct = [radius is not None for radius in radii]
    labels = [index % 10 for index in range(len(radii))]
    answers = [one if right else 9 - one for one, right in zip(labels, correct, strict=True)]
    # a wrong answer may well have a radius
    others = iter([3.0] * correct.count(False) if wrong is None else wrong)
    radii = [next(others) if radius is None else radius for radius in radii]
    columns = {name: [value] * len(radii) for name, value in COLUMNS.items()} | {
        "index": range(len(radii)),
        "label": labels,
        "prediction": [
            -1 if radius is None else one for one, radius in zip(answers, radii, strict=True)
        ],
        "correct": correct,
        "radius": [radius or 0.0 for radius in radii],
        "sigma": sigma if isinstance(sigma, list) else [sigma] * len(radii),
        **{name: [value] * len(radii) for name, value in (COUNTS | OTHERS).items()},
    }
    pq.write_table(pa.table(columns), folder / "certificates.parquet")
    made = summarise(read_certificates(folder), seconds=0.0, memory_entries=None, alone=True)
    summary = made.to_json() | {"votes": 300 * len(radii), "clean_accuracy": 0.625}
    (folder / "summary.json").write_text(json.dumps(summary))
    options = dict(row["certify"])
    models = [row["model"], *row.get("alternatives", [])]
    policy = POLICIES[options.pop("policy")]
    config = CertifyConfig(
        data=f"made-up {folder.name}",
        model=f"runs/models/{models[0]}",
        alternatives=tuple(f"runs/models/{name}" for name in models[1:]),
        split="test",
        noise=options.pop("noise", "gaussian"),
        selection=options.pop("selection", "first"),
        policy=policy(0.25, **{SETTINGS.get(name, name): one for name, one in options.items()}),
        memory="none",
        n=1234,
        n0=100,
        alpha=0.001,
        bound="one-sided",
        at_radii=None if at_radii is None else tuple(at_radii),
        seed=0,
        precision=precision,
        compile=False,
        inputs=len(radii),
        num_classes=10,
        model_digest=f"digest of {' '.join(models)} {training}",
        model_digests=tuple(f"digest of {name} {training}" for name in models),
        version="0",
    )
    (folder / "config.json").write_text(json.dumps(config.to_json()))


@pytest.fixture
def study(tmp_path, monkeypatch):
    return Study(tmp_path, monkeypatch)


def section(text, *headings):
    """What is below headings, each looked for after the one before, up to the next heading."""
    for heading in headings:
        text = text.partition(f"{heading}\n")[2]
        assert text, heading
    return text.partition("\n#")[0]


def table(text):
    """The lines of the first table by their first cell: the other cells by their columns' names."""
    lines = [*takewhile(bool, dropwhile(lambda line: line[:1] != "|", text.splitlines()))]
    names, _, *cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len({len(line) for line in lines}) == 1  # aligned
    return {row[0]: dict(zip(names[1:], row[1:], strict=True)) for row in cells}
