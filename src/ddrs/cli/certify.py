"""`ddrs certify`."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from ddrs.cli.calibrate import calibration_text
from ddrs.cli.options import Option, Out, given_options, options_of, read_options, takes
from ddrs.cli.terminal import say, say_lines
from ddrs.errors import ConfigurationError
from ddrs.jobs.certify import CertifyJob
from ddrs.jobs.ways import GUARDED, STATELESS, WAYS, WayName, way_settings

__all__ = ["EPILOG", "certify"]

EPILOG = "Example:  ddrs certify --data digits --model runs/model --policy search --out runs/new"


def _settings_by_option() -> dict[str, dict[WayName, Option]]:
    """The options that set something of a policy: by name, then by the policies that have it."""
    found: dict[str, dict[WayName, Option]] = {}
    for policy, kind in WAYS.items():
        for option in options_of(kind):
            if option.field.name in way_settings(policy):
                found.setdefault(option.name, {})[policy] = option
    return found


SETTINGS = _settings_by_option()


def _setting_options() -> list[Option]:
    """One option for each setting, under a heading that names the policies that have it."""
    return [
        replace(next(iter(owners.values())), panel=f"Policy {' and '.join(owners)}")
        for owners in SETTINGS.values()
    ]


@takes([*options_of(CertifyJob), *_setting_options()])
def certify(context: typer.Context, out: Out, **values: Any) -> None:
    """Certify the inputs of a dataset; stopped at any moment, the same command goes on."""
    given = given_options(context, values)
    settings = _read_settings(given.get("policy", CertifyJob.policy), given)
    asked = read_options(CertifyJob, given)
    if asked.get("policy", CertifyJob.policy) in GUARDED:
        asked.setdefault("calibration", "auto")
    job = CertifyJob(**asked, settings=settings)

    from ddrs.engines.local.certify import certify_run
    from ddrs.evaluation.comparison import compare, render
    from ddrs.evaluation.metrics import DEFAULT_RADII
    from ddrs.runs.table import read_run

    if job.preparation.changes_size:
        say(f"note: images are {job.preparation}; radii are meant in those pixels", error=True)
    summary = certify_run(job, out)
    _tell_calibration(job, out)
    unrecorded = summary.memory.unrecorded
    if unrecorded:
        say(
            f"note: {unrecorded} inputs are in no region of the read-only memory: their classes "
            "are not recorded, and their radius is 0",
            error=True,
        )
    elif not summary.sound_together:
        say(
            "note: sigma or the classifier differs between inputs and the memory is off, so these "
            "certificates are not sound together",
            error=True,
        )
    elif issubclass(WAYS[job.policy], STATELESS):
        what = "a cascade" if job.policy == "cascade" else "a router"
        say(f"note: the certificates of {what} hold by themselves, without a memory", error=True)
    shown = compare([read_run(out)], job.at_radii or DEFAULT_RADII)
    say_lines(render(shown))


def _tell_calibration(job: CertifyJob, out: Path) -> None:
    """Say what limited sigma, and what it cost, or that nothing did."""
    from ddrs.runs.files import CALIBRATION
    from ddrs.smoothing.calibration import Calibration

    if job.policy not in GUARDED:
        return
    if (out / CALIBRATION).exists():
        text = calibration_text(Calibration.load(out / CALIBRATION))
    elif job.calibration == "auto":
        text = (
            "note: sigma has no calibration: the run was made without, or there are no inputs that "
            "it does not certify; `ddrs calibrate` makes one from others"
        )
    else:
        text = "note: sigma has no calibration: a network may answer one class for everything"
    say(text, error=True)


def _read_settings(policy: WayName, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the policy that are given.

    Raises:
        ConfigurationError: one is given that only other policies have.
    """
    settings = {}
    for name in given.keys() & SETTINGS.keys():
        owners = SETTINGS[name]
        if policy not in owners:
            option = next(iter(owners.values()))
            raise ConfigurationError(
                f"{option.flag} is an option of the policy {' and '.join(owners)}, not of {policy}"
            )
        settings[owners[policy].field.name] = owners[policy].read(given[name])
    return settings
