import os

import torch
from hypothesis import settings

# One thread a worker: the tests run side by side, and their models are small.
torch.set_num_threads(1)

settings.register_profile("ddrs", derandomize=True, deadline=None, database=None)
settings.register_profile("long", parent=settings.get_profile("ddrs"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ddrs"))
