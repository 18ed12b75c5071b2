"""`ddrs train`."""

from typing import Annotated, Any

import typer
from rich.console import Console

from ddrs.cli.options import Noise, Out, named_values, numbers
from ddrs.display.progress import duration
from ddrs.engines.local.train import dry_run, train_run
from ddrs.errors import ConfigurationError
from ddrs.jobs.train import TrainJob
from ddrs.networks import architectures
from ddrs.networks.precision import Precision
from ddrs.training.config import TrainingConfig, preset
from ddrs.training.estimates import Estimate
from ddrs.training.objectives.methods import METHODS
from ddrs.training.schedules import Schedule
from ddrs.training.sigmas import DataDependent
from ddrs.training.workers import Workers

__all__ = ["train"]

EPILOG = """Examples:

  ddrs train --data digits --sigma 0.25 --out runs/model

  ddrs train --data parquet:cifar10 --arch resnet20 --init plain.safetensors --method macer
  --option k=4 --sigma 0.25 --data-dependent --validation 1000 --epochs 8 --out runs/macer

  torchrun --nproc-per-node 2 -m ddrs train ...   (several processes or GPUs)
"""

_messages = Console(stderr=True, highlight=False, soft_wrap=True)
_default = TrainingConfig()
_adaptive = DataDependent()

_OBJECTIVE, _SCHEDULE, _SCALES = "Objective", "Schedule", "A sigma for each example"


def train(
    data_spec: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="SPEC",
            help="digits, hf:NAME, parquet:PATH, folder:PATH or npz:PATH; its training split.",
        ),
    ],
    sigma: Annotated[float, typer.Option(metavar="S", help="Scale of the training noise.")],
    out: Out,
    arch: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"{', '.join(architectures.ARCHITECTURES)}. Default: that of --init where it is a "
            "run or hf:NAME; digits-cnn for digits.",
        ),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="W", help="What to start from: a weights file, a training run or hf:NAME."
        ),
    ] = None,
    partial_init: Annotated[
        bool,
        typer.Option(
            "--partial-init", help="Start from it even where only some of its weights fit."
        ),
    ] = TrainJob.partial_init,
    noise: Noise = TrainingConfig.noise,
    method: Annotated[
        str,
        typer.Option(metavar="NAME", help=f"{', '.join(METHODS)}.", rich_help_panel=_OBJECTIVE),
    ] = TrainingConfig.method,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="A hyperparameter of the objective, e.g. epsilon=0.5 (smoothadv: attack, epsilon, "
            "steps, m, warmup, relative) or k=4 (macer: k, weight, gamma, beta). Any "
            "number of times.",
            rich_help_panel=_OBJECTIVE,
        ),
    ] = None,
    preset_name: Annotated[
        str | None,
        typer.Option(
            "--preset",
            metavar="NAME",
            help="Objective and schedule as published for cifar10 or imagenet; options given "
            "beside it go before. With other --epochs its milestones move in proportion.",
            rich_help_panel=_OBJECTIVE,
        ),
    ] = None,
    data_dependent: Annotated[
        bool,
        typer.Option(
            "--data-dependent",
            help="Give every example a sigma of its own (Algorithm 2 of the paper).",
            rich_help_panel=_SCALES,
        ),
    ] = False,
    sigma_warmup: Annotated[
        int | None,
        typer.Option(
            metavar="E",
            help="First epochs with one sigma. Default: a quarter of all.",
            rich_help_panel=_SCALES,
        ),
    ] = None,
    sigma_steps: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help=f"Ascent steps a training step. Default: {_adaptive.steps}.",
            rich_help_panel=_SCALES,
        ),
    ] = None,
    sigma_lr: Annotated[
        float | None,
        typer.Option(
            metavar="LR",
            help=f"Their step size. Default: {_adaptive.lr:g}, as published for 200 epochs; a "
            "short training needs more to move at all, e.g. 0.02.",
            rich_help_panel=_SCALES,
        ),
    ] = None,
    sigma_draws: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help=f"Noise draws an ascent step. Default: {_adaptive.n}.",
            rich_help_panel=_SCALES,
        ),
    ] = None,
    sigma_low: Annotated[
        float | None,
        typer.Option(
            metavar="S", help="Least sigma. Default: --sigma / 4.", rich_help_panel=_SCALES
        ),
    ] = None,
    sigma_high: Annotated[
        float | None,
        typer.Option(
            metavar="S", help="Largest sigma. Default: 4 times --sigma.", rich_help_panel=_SCALES
        ),
    ] = None,
    sigma_range: Annotated[
        str | None,
        typer.Option(
            metavar="LOW,HIGH",
            help="Instead: a sigma between these at random for every example in every step, for a "
            "classifier that is certified at sigmas chosen per input.",
            rich_help_panel=_SCALES,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            metavar="E",
            help=f"Passes over the data. Default: {_default.epochs}.",
            rich_help_panel=_SCHEDULE,
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            metavar="B",
            help=f"Examples a step. Default: {_default.batch_size}.",
            rich_help_panel=_SCHEDULE,
        ),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            metavar="LR",
            help=f"Highest learning rate. Default: {_default.lr}.",
            rich_help_panel=_SCHEDULE,
        ),
    ] = None,
    schedule: Annotated[
        Schedule | None,
        typer.Option(
            help=f"How it changes. Default: {_default.schedule}.", rich_help_panel=_SCHEDULE
        ),
    ] = None,
    milestones: Annotated[
        str | None,
        typer.Option(
            metavar="E,E,...",
            help="Epochs after which step lowers it.",
            rich_help_panel=_SCHEDULE,
        ),
    ] = None,
    gamma: Annotated[
        float | None,
        typer.Option(
            metavar="G",
            help=f"Factor of step. Default: {_default.gamma}.",
            rich_help_panel=_SCHEDULE,
        ),
    ] = None,
    weight_decay: Annotated[
        float | None,
        typer.Option(
            metavar="W",
            help=f"l2 penalty on the weights. Default: {_default.weight_decay:g}.",
            rich_help_panel=_SCHEDULE,
        ),
    ] = None,
    augment: Annotated[
        bool | None,
        typer.Option(
            "--augment/--no-augment",
            help="Flip images and crop them at random. Default: no, but yes with a preset.",
            rich_help_panel=_SCHEDULE,
        ),
    ] = None,
    validation: Annotated[
        float,
        typer.Option(
            metavar="V",
            help="Training examples to hold out, a share below 1 or a number; the epoch that does "
            "best on them under noise is the result. With 0 it is the last.",
            rich_help_panel=_SCHEDULE,
        ),
    ] = TrainingConfig.validation,
    precision: Annotated[
        Precision, typer.Option(help="Arithmetic of the passes.", rich_help_panel=_SCHEDULE)
    ] = TrainingConfig.precision,
    seed: Annotated[
        int, typer.Option(metavar="K", help="Key of all randomness.")
    ] = TrainingConfig.seed,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Say how long it would take here; write nothing.")
    ] = False,
) -> None:
    """Train a base classifier under noise; certify it with `--model DIR`.

    Stopped at any moment, the same command goes on.
    """
    scales: dict[str, Any] = {
        "warmup": sigma_warmup,
        "steps": sigma_steps,
        "lr": sigma_lr,
        "n": sigma_draws,
        "low": sigma_low,
        "high": sigma_high,
    }
    given = {name: value for name, value in scales.items() if value is not None}
    if given and not data_dependent:
        raise ConfigurationError(
            "--sigma-... options are for a sigma of each example: add --data-dependent"
        )
    published = (
        {} if preset_name is None else preset(method, preset_name, epochs=epochs, schedule=schedule)
    )
    fields: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "schedule": schedule,
        "milestones": None if milestones is None else _epochs(milestones),
        "gamma": gamma,
        "weight_decay": weight_decay,
        "augment": augment,
    }
    training = TrainingConfig(
        **published
        | {name: value for name, value in fields.items() if value is not None}
        | {
            "method": method,
            "options": published.get("options", {}) | named_values("--option", option or []),
            "sigma": sigma,
            "noise": noise,
            "data_dependent": DataDependent(**given) if data_dependent else None,
            "sigma_range": None if sigma_range is None else numbers("--sigma-range", sigma_range),
            "validation": validation,
            "precision": precision,
            "seed": seed,
        }
    )
    if arch is None and init is None and data_spec == "digits":
        arch = "digits-cnn"
    job = TrainJob(data_spec, arch, training, init, partial_init)
    first = Workers().rank == 0
    if dry:
        found = dry_run(job)
        if first:
            typer.echo(_estimated(found))
        return
    summary = train_run(job, out, on_message=_messages.print)
    if first:
        typer.echo(f"{out}: {_done(summary)}")


def _epochs(text: str) -> list[int]:
    epochs = numbers("--milestones", text)
    if not all(epoch.is_integer() for epoch in epochs):
        raise ConfigurationError(f"--milestones takes whole epochs, got {text!r}")
    return [int(epoch) for epoch in epochs]


def _estimated(found: Estimate) -> str:
    kinds = ", then ".join(
        f"{epochs} epoch{'s' * (epochs > 1)} at {rate:,.0f} img/s" for epochs, rate in found.rates
    )
    return f"about {duration(found.seconds)} here: {kinds}; nothing was written"


def _done(summary: dict[str, Any]) -> str:
    held = summary["validation_accuracy"]
    picked = "" if held is None else f", {held:.3f} on the {summary['held_out']} held out"
    return (
        f"{summary['epochs']} epochs in {duration(summary['seconds'])}; weights of epoch "
        f"{summary['best_epoch'] + 1}: loss {summary['loss']:.4f}, accuracy on noisy training "
        f"inputs {summary['noisy_accuracy']:.3f}{picked}"
    )
