import torch

from ddrs.networks.noisy import add_noise, noisy_scores
from support.classifiers import Recorder, Table


def test_each_example_has_its_own_sigma_in_the_type_of_the_input():
    x, draws = torch.ones(3, 2), torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    noisy = add_noise(x, torch.tensor([0.0, 1.0, 0.5], dtype=torch.float64), draws)
    assert noisy.dtype == torch.float32
    assert noisy.tolist() == [[1, 1], [4, 5], [3.5, 4]]


def test_scores_keep_examples_and_copies_apart():
    model, generator = Table(6, 4), torch.Generator().manual_seed(0)
    x = torch.rand(3, 2, 3, generator=generator, dtype=torch.float64)
    draws = torch.randn(3, 5, 2, 3, generator=generator, dtype=torch.float64)
    sigma = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    recorder = Recorder(model)
    scores = noisy_scores(recorder, x, sigma, draws)
    assert recorder.batches == [15]
    for row in range(3):
        for copy in range(5):
            expected = model((x[row] + sigma[row] * draws[row, copy])[None])[0]
            assert torch.allclose(scores[row, copy], expected, rtol=1e-12)
