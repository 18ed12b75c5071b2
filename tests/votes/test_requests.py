import numpy as np
import pytest
import torch

from ddrs.errors import InputError
from ddrs.votes.requests import Inputs


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 3)), "ndarray"),
        (torch.zeros(2, 3, dtype=torch.int64), "int64"),
        (torch.zeros(2, 3, dtype=torch.complex64), "complex64"),
        (torch.zeros(3), r"\[3\]"),
        (torch.zeros(2, 0), "no elements"),
        (torch.tensor([[0.0], [float("nan")]]), r"inputs \[1\]"),
        (torch.tensor([[float("-inf")], [0.0]]), r"inputs \[0\]"),
    ],
)
def test_inputs_that_cannot_be_certified_are_refused(x, message):
    with pytest.raises(InputError, match=message):
        Inputs.of(x, seed=0)
