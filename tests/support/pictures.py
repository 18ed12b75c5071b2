"""Small pictures with labels, the files that hold them, and what it means that a dataset does."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from ddrs import data

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (9, 5, 4, 3), dtype=np.uint8)  # [n, height, width, channels]
GREY = RNG.integers(0, 256, (9, 5, 4), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 2, 1, 0, 1, 1, 2])


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def write_parquet(
    path: Path,
    pixels: Any,
    labels: Any,
    columns: tuple[str, str] = ("image", "label"),
    names: list[str] | None = None,
    rows: int = 1000,
) -> Path:
    cells = [{"bytes": png(p) if isinstance(p, np.ndarray) else p, "path": None} for p in pixels]
    table = pa.table({columns[0]: cells, columns[1]: labels})
    if names is not None:
        features = {columns[1]: {"names": names, "_type": "ClassLabel"}}
        meta = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": meta})
    pq.write_table(table, path, row_group_size=rows)
    return path


def assert_holds(d: data.Dataset, pixels: np.ndarray, labels: Any) -> None:
    """The dataset is these `[n, height, width, channels]` pixels, bit for bit over 255."""
    expected = torch.tensor(pixels.reshape(*pixels.shape[:3], -1)).permute(0, 3, 1, 2) / 255
    x, y = d.batch(0, len(d))
    assert x.dtype == torch.float32
    assert torch.equal(x, expected)
    assert y.tolist() == list(labels)
    assert y.dtype == torch.int64
    assert d.shape == tuple(expected.shape[1:])
