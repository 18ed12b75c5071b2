"""`ddrs attack`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ddrs.cli.options import given_options, options_of, read_options, takes
from ddrs.cli.terminal import say, say_lines
from ddrs.display.markdown import table
from ddrs.errors import ConfigurationError
from ddrs.jobs.attack import AttackJob

if TYPE_CHECKING:
    from ddrs.runs.attacks import AttackResult

__all__ = ["EPILOG", "attack"]

EPILOG = "Example:  ddrs attack runs/search --inputs 50 --factor 0.95,1.5"
ASKED = {
    "own sigma": "votes with the input's sigma",
    "after": "after the input, the memory stores",
    "read-only": "after the input, read-only memory",
    "before": "before the input",
    "input": "the input itself, asked then",
    "plain": "no memory",
}


@takes(options_of(AttackJob))
def attack(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run of ddrs certify.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="The result. Default: attack.json in the run."),
    ] = None,
    **values: Any,
) -> None:
    """Attack certified inputs of a run, inside of their radii and outside, and ask its memory."""
    job = AttackJob(**read_options(AttackJob, given_options(context, values)))
    if out is not None and out.suffix != ".json":
        raise ConfigurationError(f"the result is a file of JSON: {out} does not end in .json")
    if out is not None and not out.parent.is_dir():
        raise ConfigurationError(f"there is no directory {out.parent}: make it first")

    from ddrs.engines.local.attack import attack_run
    from ddrs.finished.reading import read_finished
    from ddrs.runs.attacks import ATTACK

    result = attack_run(read_finished(run), job, out)
    say_lines(f"{attack_table(result)}\n")
    for point, setting in result.violations:
        say(
            f"violation: input {point.index} is certified class {point.prediction} within "
            f"{point.radius:.6g}, but {point.distance:.6g} away class "
            f"{point.answers[setting].prediction} is answered ({ASKED[setting]})"
        )
    say(f"{run}: {verdict(result)}; {out or run / ATTACK}")
    if result.violations:
        raise typer.Exit(1)


def attack_table(result: "AttackResult") -> str:
    """A line for each distance and setting."""
    names = ["distance", "asked", "points", "inside", "changed", "95 % interval", "abstained"]
    lines = [
        [
            f"{one.factor:g} R",
            ASKED[one.setting],
            *map(str, (one.points, one.inside, one.changed)),
            "{:.1%} to {:.1%}".format(*one.interval),
            str(one.abstained),
        ]
        for one in result.figures
    ]
    return table(names, lines, left=2)


def verdict(result: "AttackResult") -> str:
    """What the attack says of the certificates, in one sentence."""
    found = len(result.violations)
    if not result.settings.memory:
        return (
            f"{found} answers changed inside of radii; without a memory a certificate and an "
            f"answer are each wrong with probability {result.settings.alpha:g} at most"
        )
    return f"{found} violations of what is guaranteed to whoever asks after the input"
