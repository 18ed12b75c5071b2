"""The commands over runs, and the way into all of them."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ddrs.cli import memory as memory_commands
from ddrs.cli import train as training
from ddrs.cli.options import RADII, Noise, Out, Radii, Runs, Seed, numbers
from ddrs.cli.tables import orders_table
from ddrs.data.split import Split
from ddrs.demo import run_demo
from ddrs.engines.local.certify import certify_run
from ddrs.errors import ConfigurationError, DDRSError
from ddrs.evaluation.comparison import Format, compare, render
from ddrs.evaluation.metrics import DEFAULT_RADII
from ddrs.finished import audit as audits
from ddrs.finished.orders import reorder
from ddrs.finished.report import write_report
from ddrs.jobs.certify import CertifyJob, PolicyName
from ddrs.memory.store.urls import shown_url
from ddrs.networks.precision import Precision
from ddrs.proof.bounds import Bound
from ddrs.runs.table import read_run, read_runs
from ddrs.sigma.gradient import GradientSigma
from ddrs.sigma.search import SearchSigma
from ddrs.smoothing.selection import Selection
from ddrs.version import __version__

__all__ = ["app", "main"]

app = typer.Typer(
    name="ddrs",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(memory_commands.app, name="memory")
_messages = Console(stderr=True, highlight=False, soft_wrap=True)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    # Here for the help text: `main` takes it out of the words before they are parsed.
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of errors.")] = False,
) -> None:
    """Certified robustness for any PyTorch classifier, with the noise level chosen per input."""
    if version:
        typer.echo(f"ddrs {__version__}")
        raise typer.Exit()


@app.command(epilog="Example:  ddrs demo --out runs/demo")
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the runs go.")] = Path(
        "runs/demo"
    ),
) -> None:
    """Train on real handwritten digits and certify them with a fixed and a chosen sigma."""
    made = run_demo(out)
    typer.echo(f"\n{made.table}\n")
    typer.echo(f"table: {made.table_file}\nfigure: {made.figure_file}")


app.command(epilog=training.EPILOG)(training.train)


@app.command(
    epilog="Example:  ddrs certify --data digits --model runs/model --policy search --out runs/new"
)
def certify(
    data_spec: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="SPEC",
            help="digits, hf:NAME, parquet:PATH, folder:PATH or npz:PATH.",
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            metavar="SPEC",
            help="A run directory of `ddrs train`, hf:NAME_OR_DIR, timm:NAME, torchvision:NAME, "
            "py:package.module:factory, or one of our architectures with --weights.",
        ),
    ],
    out: Out,
    weights: Annotated[
        str | None, typer.Option(metavar="FILE", help="Weights for the model.")
    ] = None,
    alternative: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPEC",
            help="A further classifier; may be given several times. Each input gets the one with "
            "the largest radius to be expected. Only with a policy.",
        ),
    ] = None,
    selection: Annotated[
        Selection,
        typer.Option(
            help="With alternatives: whose votes select the class: first, those of --model; all, "
            "those of every classifier, added up."
        ),
    ] = CertifyJob.selection,
    sigma: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            help="Fixed sigma, or where a policy starts. Default: the model's training noise.",
        ),
    ] = None,
    policy: Annotated[PolicyName, typer.Option(help="How sigma is chosen.")] = CertifyJob.policy,
    memory: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="sqlite:///FILE, postgresql://USER@HOST/DATABASE or memory://; `run` for one in "
            "the run directory (the default with gradient and search); `none` for none (the "
            "default with fixed).",
        ),
    ] = "auto",
    read_only: Annotated[
        bool,
        typer.Option(
            "--read-only",
            help="Answer from the memory at a URL and store nothing in it; radius 0 elsewhere.",
        ),
    ] = CertifyJob.read_only,
    n: Annotated[
        int,
        typer.Option(
            "--n", metavar="N", help="Estimation votes; the most where a question is put."
        ),
    ] = CertifyJob.n,
    at_radii: Annotated[
        str | None,
        typer.Option(
            metavar="R,R,...",
            help="Question: which of these radii are certified? An input stops once it is settled.",
        ),
    ] = None,
    radius_tolerance: Annotated[
        float | None,
        typer.Option(
            metavar="T",
            help="Question: how large is the radius? An input stops once more votes could add "
            "less than T.",
        ),
    ] = None,
    n0: Annotated[int, typer.Option("--n0", metavar="N0", help="Selection votes.")] = CertifyJob.n0,
    alpha: Annotated[
        float, typer.Option(metavar="A", help="Failure probability of one certificate.")
    ] = CertifyJob.alpha,
    bound: Annotated[Bound, typer.Option(help="Confidence bound.")] = CertifyJob.bound,
    noise: Noise = CertifyJob.noise,
    limit: Annotated[int | None, typer.Option(metavar="K", help="Only the first K inputs.")] = None,
    split: Annotated[Split, typer.Option(help="Part of the dataset.")] = CertifyJob.split,
    low: Annotated[float | None, typer.Option(metavar="S", help="Least sigma of a policy.")] = None,
    high: Annotated[
        float | None, typer.Option(metavar="S", help="Largest sigma of a policy.")
    ] = None,
    steps: Annotated[
        int, typer.Option(metavar="K", help="Ascent steps of gradient.")
    ] = GradientSigma.steps,
    lr: Annotated[
        float, typer.Option(metavar="LR", help="Step size of gradient.")
    ] = GradientSigma.lr,
    draws: Annotated[
        int, typer.Option(metavar="N", help="Draws a step of gradient.")
    ] = GradientSigma.n,
    search_votes: Annotated[
        int, typer.Option(metavar="N", help="Votes an input of search.")
    ] = SearchSigma.votes,
    seed: Seed = None,
    precision: Annotated[
        Precision, typer.Option(help="Arithmetic of the forward passes.")
    ] = CertifyJob.precision,
    compile: Annotated[
        bool,
        typer.Option("--compile", help="Certify a compiled copy of the model, which is faster."),
    ] = False,
    batch_size: Annotated[
        int | None, typer.Option(metavar="B", help="Rows of a forward pass. Default: the fastest.")
    ] = None,
) -> None:
    """Certify the inputs of a dataset; stopped at any moment, the same command goes on."""
    job = CertifyJob(
        data=data_spec,
        model=model,
        weights=weights,
        alternatives=tuple(alternative or ()),
        selection=selection,
        split=split,
        policy=policy,
        sigma=sigma,
        low=low,
        high=high,
        steps=steps,
        lr=lr,
        draws=draws,
        search_votes=search_votes,
        noise=noise,
        memory=memory,
        read_only=read_only,
        n=n,
        at_radii=None if at_radii is None else numbers("--at-radii", at_radii),
        radius_tolerance=radius_tolerance,
        n0=n0,
        alpha=alpha,
        bound=bound,
        limit=limit,
        seed=seed,
        precision=precision,
        compile=compile,
        batch_size="auto" if batch_size is None else batch_size,
    )
    summary = certify_run(job, out)
    unrecorded = summary.memory.unrecorded
    if unrecorded:
        _messages.print(
            f"note: {unrecorded} inputs are in no region of the read-only memory: their classes "
            "are not recorded, and their radius is 0"
        )
    elif not summary.sound_together:
        _messages.print(
            "note: sigma or the classifier differs between inputs and the memory is off, so these "
            "certificates are not sound together"
        )
    shown = compare([read_run(out)], job.at_radii or DEFAULT_RADII)
    typer.echo(render(shown))


@app.command(epilog="Example:  ddrs table runs/fixed runs/search --radii 0,0.25,0.5")
def table(
    runs: Runs,
    radii: Radii = RADII,
    format: Annotated[Format, typer.Option(help="Form of the table.")] = "markdown",
) -> None:
    """Compare runs, and logs in the form of locuslab/smoothing, in one table."""
    wanted = numbers("--radii", radii)  # before anything is read
    rows = compare(read_runs(runs), wanted)
    typer.echo(render(rows, format))


@app.command(epilog="Example:  ddrs report runs/fixed runs/search --out report.html")
def report(
    runs: Runs,
    out: Annotated[
        Path, typer.Option(metavar="FILE.html", help="The page; one already there is replaced.")
    ],
    radii: Radii = RADII,
) -> None:
    """Write one page that shows runs and logs, how they were made, and what they guarantee."""
    write_report(runs, out, numbers("--radii", radii))
    typer.echo(f"report: {out}")


@app.command(epilog="Example:  ddrs audit runs/search      or      ddrs audit sqlite:///memory.db")
def audit(
    target: Annotated[
        str, typer.Argument(metavar="RUN_OR_MEMORY_URL", help="A run directory or a memory.")
    ],
    orders: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help="Resolve a run in K shuffled orders too: how much depends on the order?",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="S", help="Key of the orders.")] = 0,
) -> None:
    """Recompute every certificate from its counts and check that no two regions disagree."""
    is_memory = "://" in target
    if orders is not None and is_memory:
        raise ConfigurationError("--orders takes a run directory: a memory does not know labels")
    if orders is not None and orders < 1:
        raise ConfigurationError(f"--orders takes at least 1 order, got {orders}")
    report = audits.audit_memory(target) if is_memory else audits.audit_run(target)
    for violation in report.violations:
        typer.echo(f"violation: {violation}")
    verdict = "sound" if report.ok else f"{len(report.violations)} violations"
    name = shown_url(target) if is_memory else target
    typer.echo(f"{name}: {report.entries} entries, {verdict}")
    if orders is not None:
        typer.echo(f"\n{orders_table(reorder(target, orders, seed=seed))}")
    if not report.ok:
        raise typer.Exit(1)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; an error is one line on standard error, unless `--debug` is given."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        app([word for word in words if word != "--debug"])  # it may stand anywhere
    except KeyboardInterrupt:
        _messages.print("interrupted; the same command goes on where this one stopped")
        sys.exit(130)
    except DDRSError as error:
        if "--debug" in words:
            raise
        _messages.print(f"error: {' '.join(str(error).split())}", markup=False)
        sys.exit(2 if isinstance(error, ConfigurationError) else 1)
