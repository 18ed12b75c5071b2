from dataclasses import replace

from ddrs.training.metrics import EpochMetrics, best_epoch

RECORD = EpochMetrics(0, 1.0, 0.5, 3.0, None, 0.25, 0.25, 0.25, [])


def history(*accuracies):
    return [
        replace(RECORD, epoch=epoch, validation_accuracy=accuracy)
        for epoch, accuracy in enumerate(accuracies)
    ]


def test_records_compare_without_their_seconds():
    assert replace(RECORD, seconds=4.0) == RECORD
    assert replace(RECORD, loss=1.5) != RECORD


def test_the_best_epoch():
    assert best_epoch(history(None, None, None)) == 2
    assert best_epoch(history(0.2, 0.6, 0.5)) == 1
    assert best_epoch(history(0.2, 0.6, 0.6, 0.1)) == 2  # of equals the one trained longer
    assert best_epoch(history(0.0, 0.0)) == 1
