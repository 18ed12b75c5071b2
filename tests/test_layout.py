"""The map of the code holds: rooms import only from rooms below them, and the API is stated."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import ddrs
from ddrs.smoothing.classifier import SmoothedClassifier

ROOT = Path(__file__).parents[1]
TESTS, HOUSE = ROOT / "tests", ROOT / "src" / "ddrs"


def test_the_import_contract_is_kept() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_tests_lie_where_the_code_lies() -> None:
    rooms = {path.relative_to(HOUSE) for path in HOUSE.rglob("*") if path.is_dir()}
    elsewhere = {Path("support"), Path("benchmarks"), Path("experiments")}
    folders = {path.parent.relative_to(TESTS) for path in TESTS.rglob("*.py")}
    assert folders <= rooms | elsewhere | {Path(".")}


def test_every_module_says_what_it_offers() -> None:
    silent = [
        str(path)
        for path in HOUSE.rglob("*.py")
        if not path.name.startswith("__") and "__all__" not in path.read_text()
    ]
    assert not silent


def test_the_public_names_are_those_of_the_contract() -> None:
    names = "ABSTAIN Certificate FixedSigma Gaussian GradientSigma Memory SearchSigma"
    assert {*names.split(), "SmoothedClassifier", "Uniform"} <= set(ddrs.__all__)
    assert issubclass(ddrs.errors.DDRSError, Exception)
    assert callable(ddrs.evaluation.read_log)


def test_the_classifier_takes_the_arguments_of_the_contract() -> None:
    signature = inspect.signature(SmoothedClassifier)
    defaults = {name: p.default for name, p in signature.parameters.items()}
    assert defaults["noise"] == ddrs.Gaussian()
    expected = {
        "sigma": 0.25, "memory": None, "n0": 100, "n": 100_000, "alpha": 0.001,
        "bound": "one-sided", "seed": None, "batch_size": "auto", "precision": "fp32",
        "compile": False,
    }  # fmt: skip
    assert {name: defaults[name] for name in expected} == expected
    assert list(defaults)[:2] == ["model", "num_classes"]


def test_versions_agree() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    found = re.search(r"^## (\S+)", changelog, re.MULTILINE)
    assert found is not None
    assert found.group(1) == ddrs.__version__
