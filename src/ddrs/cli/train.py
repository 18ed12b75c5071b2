"""`ddrs train`."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ddrs.cli.options import Option, Out, given_options, options_of, read_options, takes
from ddrs.cli.terminal import say
from ddrs.errors import ConfigurationError
from ddrs.jobs.train import TrainJob
from ddrs.training.config import TrainingConfig, preset

if TYPE_CHECKING:
    from ddrs.runs.summary import TrainingSummary
    from ddrs.training.estimates import Estimate

__all__ = ["EPILOG", "train"]

EPILOG = """Examples:

  ddrs train --data digits --sigma 0.25 --out runs/model

  ddrs train --data parquet:cifar10 --arch resnet20 --init plain.safetensors --method macer
  --option k=4 --sigma 0.25 --data-dependent --validation 1000 --epochs 8 --out runs/macer

  torchrun --nproc-per-node 2 -m ddrs train ...   (several processes or GPUs)
"""


def _options() -> Iterator[Option]:
    """Those of the job and of its configuration; the noise is not chosen by saying nothing."""
    for option in (*options_of(TrainJob), *options_of(TrainingConfig)):
        yield replace(option, required=option.required or option.name == "sigma")


@takes(_options())
def train(
    context: typer.Context,
    out: Out,
    preset_name: Annotated[
        str | None,
        typer.Option(
            "--preset",
            metavar="NAME",
            help="Objective and schedule as published for cifar10 or imagenet; options given "
            "beside it override it. With other --epochs its milestones move in proportion.",
            rich_help_panel="Objective",
        ),
    ] = None,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Say how long it would take here; write nothing.")
    ] = False,
    **values: Any,
) -> None:
    """Train a base classifier under noise; certify it with `--model DIR`.

    Stopped at any moment, the same command goes on.
    """
    given = given_options(context, values)
    wanted = read_options(TrainJob, given)
    if "arch" not in wanted and "init" not in wanted and wanted["data"] == "digits":
        wanted["arch"] = "digits-cnn"
    job = TrainJob(**wanted, training=_training(preset_name, read_options(TrainingConfig, given)))

    from ddrs.engines.local.train import dry_run, train_run
    from ddrs.training.workers import Workers

    first = Workers().rank == 0
    if first and job.preparation.changes_size:
        say(f"note: images are {job.preparation}; noise is added to those pixels", error=True)
    if dry:
        found = dry_run(job)
        if first:
            say(_estimated(found))
        return
    summary = train_run(job, out, on_message=partial(say, error=True))
    if first:
        say(f"{out}: {_done(summary)}")


def _training(preset_name: str | None, given: dict[str, Any]) -> TrainingConfig:
    """The configuration: what is given overrides the preset, and that the defaults."""
    wanted = given
    if preset_name is not None:
        published = preset(
            given.get("method", TrainingConfig.method),
            preset_name,
            epochs=given.get("epochs"),
            schedule=given.get("schedule"),
        )
        options = published["options"] | given.get("options", {})
        wanted = published | given | {"options": options}
    training = TrainingConfig(**wanted)
    if "gamma" in given and training.schedule != "step":
        raise ConfigurationError(
            f"--gamma is of the schedule step, not of {training.schedule}: leave one of them out"
        )
    return training


def _estimated(found: "Estimate") -> str:
    from ddrs.display.progress import duration

    kinds = ", then ".join(
        f"{epochs} epoch{'s' * (epochs > 1)} at {rate:,.0f} img/s" for epochs, rate in found.rates
    )
    return f"about {duration(found.seconds)} here: {kinds}; nothing was written"


def _done(summary: "TrainingSummary") -> str:
    from ddrs.display.progress import duration

    held = summary.validation_accuracy
    picked = "" if held is None else f", {held:.3f} on the {summary.held_out} held out"
    return (
        f"{summary.epochs} epochs in {duration(summary.seconds)}; weights of epoch "
        f"{summary.best_epoch + 1}: loss {summary.loss:.4f}, accuracy on noisy training "
        f"inputs {summary.noisy_accuracy:.3f}{picked}"
    )
