"""`ddrs calibrate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ddrs.cli.options import given_options, options_of, read_options, takes
from ddrs.cli.terminal import say_lines
from ddrs.display.markdown import table
from ddrs.errors import ConfigurationError
from ddrs.jobs.calibrate import CalibrateJob

if TYPE_CHECKING:
    from ddrs.smoothing.calibration import Calibration

__all__ = ["EPILOG", "calibrate", "calibration_text"]

EPILOG = "Example:  ddrs calibrate --data digits --model runs/model --out runs/calibration.json"
SUFFIX = ".json"


@takes(options_of(CalibrateJob))
def calibrate(
    context: typer.Context,
    out: Annotated[
        Path, typer.Option(metavar="FILE.json", help="The calibration; one there is replaced.")
    ],
    **values: Any,
) -> None:
    """Find the largest sigma up to which a model does not give one class for everything."""
    job = CalibrateJob(**read_options(CalibrateJob, given_options(context, values)))
    if out.suffix != SUFFIX:
        raise ConfigurationError(f"a calibration is a file of JSON: {out} does not end in .json")
    if not out.parent.is_dir():
        raise ConfigurationError(f"there is no directory {out.parent}: make it first")

    from ddrs.engines.local.calibrate import calibrate_job

    found = calibrate_job(job)
    found.save(out)
    rows = [
        [
            one.model_digest[:12],
            f"{one.sigma:.4g}",
            f"{one.high:.4g}",
            "{:.4g} to {:.4g}".format(*one.interval),
            f"{one.grid[-1]:.4g}",
        ]
        for one in found.models
    ]
    names = ["network", "training noise", "largest sigma", "95 % interval", "looked up to"]
    say_lines(f"{table(names, rows)}\n\n{calibration_text(found)}")


def calibration_text(found: "Calibration") -> str:
    """What a calibration found and what it cost, in one sentence."""
    return (
        f"calibration {found.digest[:12]}: sigma at most {found.high:.4g}; {found.cost} votes in "
        f"{found.seconds:.1f} s on {found.data}"
    )
