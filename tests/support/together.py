"""A training job that two processes carry out together."""

import json
from pathlib import Path

from ddrs.engines.local.train import train_run
from ddrs.jobs.train import TrainJob
from ddrs.training.config import TrainingConfig
from ddrs.training.sigmas import DataDependent
from support.toy_training import join


def train_job(rank: int, port: int, folder: str, epochs: int) -> None:
    """Train on digits, and write the summary that this process got to `RANK.json`."""
    join(rank, port)
    training = TrainingConfig(
        sigma=0.3, epochs=epochs, validation=100, data_dependent=DataDependent(warmup=1)
    )
    job = TrainJob("digits", "digits-cnn", training)
    summary = train_run(job, Path(folder) / "run", quiet=True)
    (Path(folder) / f"{rank}.json").write_text(json.dumps(summary.to_json()))
