"""The commands over runs, and the way into all of them.

A command imports what it needs when it runs: torch, pandas and their like take seconds to load, and
a help text needs none of them.
"""

import errno
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ddrs.cli import attack as attacking
from ddrs.cli import calibrate as calibrating
from ddrs.cli import certify as certifying
from ddrs.cli import memory as memory_commands
from ddrs.cli import train as training
from ddrs.cli.entry import INTERRUPTED, interruption
from ddrs.cli.options import RADII, Radii, Runs, numbers
from ddrs.cli.parsing import Command, UsageError, without_url
from ddrs.cli.terminal import say, say_lines
from ddrs.display.foreign import markdown_text
from ddrs.errors import ConfigurationError, DDRSError, DDRSWarning
from ddrs.evaluation.comparison import Format
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
FEW = 3  # of the logs that are passed over, with the reason
_LIKE_URL = re.compile(r"\s*(postgres|sqlite:|memory:)|.*(@|password)", re.IGNORECASE)
NOT_MEMORY = " but for its memory, a server that was not connected to: name it with --memory URL"
NOT_CLASSIFIERS = (
    " but for the classifiers of its certificates, which it does not name: audit a run that uses it"
)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    # Here for the help text: `main` takes it out of the words before they are parsed.
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of errors.")] = False,
) -> None:
    """Certified robustness for any PyTorch classifier, with the noise level chosen per input."""
    if version:
        say(f"ddrs {__version__}")
        raise typer.Exit()


@app.command(cls=Command, epilog="Example:  ddrs demo --out runs/demo")
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the runs go.")] = Path(
        "runs/demo"
    ),
) -> None:
    """Train on real handwritten digits and certify them with a fixed and a chosen sigma."""
    from ddrs.demo import run_demo

    made = run_demo(out)
    say_lines(f"\n{made.table}\n")
    say(f"table: {made.table_file}")
    say(f"figure: {made.figure_file}")


app.command(cls=Command, epilog=training.EPILOG)(training.train)


app.command(cls=Command, epilog=certifying.EPILOG)(certifying.certify)


app.command(cls=Command, epilog=calibrating.EPILOG)(calibrating.calibrate)


app.command(cls=Command, epilog=attacking.EPILOG)(attacking.attack)


@app.command(cls=Command, epilog="Example:  ddrs table runs/fixed runs/search --radii 0,0.25,0.5")
def table(
    runs: Runs,
    radii: Radii = RADII,
    format: Annotated[Format, typer.Option(help="Form of the table.")] = "markdown",
    choose: Annotated[
        bool,
        typer.Option(
            "--choose",
            help="Add what a choice among these would certify, for each input.",
            rich_help_panel="Choice",
        ),
    ] = False,
    n: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Votes behind each radius of the logs.", rich_help_panel="Choice"
        ),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            metavar="A",
            help="Failure probability of each radius of the logs.",
            rich_help_panel="Choice",
        ),
    ] = None,
) -> None:
    """Compare runs and published logs in one table."""
    from ddrs.evaluation.comparison import compare, render
    from ddrs.evaluation.metrics import check_radii
    from ddrs.finished import choice as choosing
    from ddrs.runs.table import readable_runs

    wanted = numbers("--radii", radii)
    check_radii(wanted)  # before anything is read
    if not choose and (n is not None or alpha is not None):
        raise ConfigurationError("--n and --alpha say how logs were made, for --choose: add it")
    if choose:
        choosing.check_settings(n, alpha)
    found, passed_over = readable_runs(runs)
    _say_passed_over(passed_over)
    if not choose:
        say_lines(render(compare(found, wanted), format))
        return
    choice = choosing.choose(found, n=n, alpha=alpha)
    say_lines(render(choice.figures(found, wanted), format))
    if format == "markdown":
        say_lines(f"\n{markdown_text(choice.note, None)}")
    else:
        _say(choice.note)


@app.command(cls=Command, epilog="Example:  ddrs report runs/fixed runs/search --out report.html")
def report(
    runs: Runs,
    out: Annotated[
        Path, typer.Option(metavar="FILE.html", help="The page; one already there is replaced.")
    ],
    radii: Radii = RADII,
) -> None:
    """Write one page that shows runs and logs, how they were made, and what they guarantee."""
    from ddrs.evaluation.metrics import check_radii
    from ddrs.finished.report import write_report

    wanted = numbers("--radii", radii)
    check_radii(wanted)
    _say_passed_over(write_report(runs, out, wanted))
    say(f"report: {out}")


@app.command(
    cls=Command,
    epilog="Example:  ddrs audit runs/search      or      ddrs audit sqlite:///memory.db",
)
def audit(
    target: Annotated[
        str, typer.Argument(metavar="RUN_OR_MEMORY_URL", help="A run directory or a memory.")
    ],
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The memory of a run that lies on a server, as the run records it: no server is "
            "connected to unless it is named here.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC",
            help="The data that a run certified: hold its inputs and labels against them.",
        ),
    ] = None,
    orders: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help="Resolve a run in K shuffled orders too: how much depends on the order?",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="S", help="Key of the orders. Default: 0.")
    ] = None,
) -> None:
    """Recompute every certificate from its counts and check that no two regions disagree."""
    from ddrs.cli.tables import orders_table
    from ddrs.finished.audit import audit_memory, audit_run
    from ddrs.finished.orders import reorder
    from ddrs.memory.store.urls import parse_url, shown_url
    from ddrs.noise.streams import check_seed

    is_memory = "://" in target
    if is_memory or (_LIKE_URL.match(target) and not Path(target).exists()):
        parse_url(target)  # refuses what is meant to be one and would be repeated as a path
    if orders is not None and is_memory:
        raise ConfigurationError("--orders takes a run directory: a memory does not know labels")
    if memory is not None and is_memory:
        raise ConfigurationError("--memory goes with a run directory, not with a memory")
    if data is not None and is_memory:
        raise ConfigurationError("--data goes with a run directory, not with a memory")
    if orders is not None and orders < 1:
        raise ConfigurationError(f"--orders takes at least 1 order, got {orders}")
    if seed is not None and orders is None:
        raise ConfigurationError("--seed is the key of --orders: add --orders")
    check_seed(seed or 0)
    report = audit_memory(target) if is_memory else audit_run(target, memory, data)
    for violation in report.violations:
        say(f"violation: {violation}")
    verdict = f"{len(report.violations)} violations" if report.violations else "sound"
    if not report.whole:
        verdict += NOT_CLASSIFIERS if is_memory else NOT_MEMORY
    for note in report.notes:
        say(f"note: {note}")
    name = shown_url(target) if is_memory else target
    say(f"{name}: {report.entries} entries, {verdict}")
    if orders is not None:
        say_lines(f"\n{orders_table(reorder(target, orders, seed=seed or 0))}")
    if not report.ok:
        raise typer.Exit(1)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; an error is one line on standard error, unless `--debug` is given."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        with _notes():
            # `--debug` may stand anywhere. Typer makes an exit code of Ctrl-C and of every Exit.
            code = app([word for word in words if word != "--debug"], standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except UsageError as error:
        code = error.exit_code
        if type(error).__name__ != "NoArgsIsHelpError":  # which has shown the help
            _say(f"error: {without_url(error.format_message())}")
    except (DDRSError, OSError) as error:
        if "--debug" in words:
            raise
        _say(f"error: {error if isinstance(error, DDRSError) else _in_words(error)}")
        _give_up_output()
        code = 2 if isinstance(error, ConfigurationError) else 1
    if code == INTERRUPTED:
        _say(interruption(words))
    sys.exit(code or 0)


def _say_passed_over(logs: dict[Path, str]) -> None:
    """Say why logs were passed over; of many, the names of those after the first few."""
    for line in list(logs.values())[:FEW]:
        _say(f"passed over: {line}")
    if len(logs) > FEW:
        _say(f"passed over too: {', '.join(map(str, list(logs)[FEW:]))}")


@contextmanager
def _notes() -> Iterator[None]:
    """Show each of our warnings as one line, and others as Python does."""
    with warnings.catch_warnings():
        as_ever = warnings.showwarning
        warnings.simplefilter("always", DDRSWarning)

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, DDRSWarning):
                _say(f"note: {message}")
            else:
                as_ever(message, category, *where, **more)

        warnings.showwarning = show
        yield


def _say(text: str) -> None:
    say(" ".join(text.split()), error=True)


def _in_words(error: OSError) -> str:
    """An error of the system that no layer below could say more about."""
    where = "" if error.filename is None else f": {error.filename}"
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    advice = "; make room and run the same command again, what was there is kept" * full
    return f"{error.strerror or error}{where}{advice}"


def _give_up_output() -> None:
    """Drop what standard output cannot take, so that Python does not complain at its end."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
