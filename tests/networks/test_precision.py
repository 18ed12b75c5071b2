import pytest
import torch

from ddrs.errors import ConfigurationError
from ddrs.networks.precision import check_precision


def test_bf16_needs_a_gpu_that_has_it(monkeypatch):
    cuda = torch.device("cuda")
    check_precision("bf16", torch.device("cpu"))
    check_precision("fp32", cuda)
    for has in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, has=has: has)
        if has:
            check_precision("bf16", cuda)
        else:
            with pytest.raises(ConfigurationError, match="no bfloat16"):
                check_precision("bf16", cuda)
