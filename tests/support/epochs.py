"""Epochs to show, a full disk, and event files read as TensorBoard reads them."""

import resource
import struct
from collections import defaultdict
from contextlib import contextmanager

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c

from ddrs.training.metrics import EpochMetrics

SIGMA_BOUNDS = (0.0, 2.0)  # in parts of 0.1


def fixed(epochs, accuracies=()):
    """A training with one scale: loss 1, 1/2, 1/3, ..."""
    accuracies = dict(enumerate(accuracies))
    return [
        EpochMetrics(e, 1 / (e + 1), e / 1000, 0.1 * e, accuracies.get(e), 0.25, 0.25, 0.25, [])
        for e in range(epochs)
    ]


def varied(epochs):
    """A training of four examples, two of which go from 0.45 a part of the range up an epoch."""
    history = []
    for epoch in range(epochs):
        counts = [0] * 20
        counts[4] += 2
        counts[4 + epoch] += 2
        high = 0.45 + 0.1 * epoch
        middle = (0.45 + high) / 2
        history.append(EpochMetrics(epoch, 1.5, 0.5, 2.0, 0.25, 0.45, middle, high, counts))
    return history


@contextmanager
def room(size):
    """No file may become larger than this many bytes; a write beyond it fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def read_events(path):
    """The events of a file: each with its length and two checksums before and after it."""
    content, events = path.read_bytes(), []
    while content:
        (size,) = struct.unpack("<Q", content[:8])
        data = content[12 : 12 + size]
        assert content[8:12] == struct.pack("<I", masked_crc32c(content[:8]))
        assert content[12 + size : 16 + size] == struct.pack("<I", masked_crc32c(data))
        events.append(Event.FromString(data))
        content = content[16 + size :]
    return events


def read_tags(folder):
    """`{tag: {step: value}}` of a folder; a step that would be shown twice is an error."""
    tags = defaultdict(dict)
    for path in sorted(folder.iterdir()):
        version, *events = read_events(path)
        assert version.file_version == "brain.Event:2"
        for event in events:
            if event.session_log.status == SessionLog.START:
                for steps in tags.values():
                    for step in [step for step in steps if step >= event.step]:
                        del steps[step]
            for value in event.summary.value:
                assert event.step not in tags[value.tag]
                histogram = value.HasField("histo")
                tags[value.tag][event.step] = value.histo if histogram else value.simple_value
    return {tag: steps for tag, steps in tags.items() if steps}
