"""A compiled classifier: the model as one graph of fused kernels with frozen weights (OpenVINO).

Batch normalisation is folded into the convolutions, and several batches are on their way at once,
one per core, so that the drawing of noise and the counting run beside the network. Rounding differs
from the model's own kernels, so a compiled network is a classifier of its own, with its own digest.
"""

import copy
import logging
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from ddrs.errors import ConfigurationError, ModelError
from ddrs.networks.forward import Key, check_scores
from ddrs.networks.precision import Precision

__all__ = ["CompiledNetwork", "check_compilable"]

_COMPILING = Lock()  # the exporter of torch is for one thread at a time


def check_compilable(device: torch.device, precision: Precision) -> None:
    """Raise ConfigurationError, saying what to do, where nothing can be compiled."""
    if find_spec("openvino") is None:
        raise ConfigurationError(
            "compile=True needs OpenVINO: pip install 'ddrs[compile]', or leave compile out"
        )
    if device.type != "cpu":
        raise ConfigurationError(
            f"compile=True works on a CPU, and the model is on {device}: leave compile out"
        )
    if precision == "bf16" and "BF16" not in _core().get_property(
        "CPU", "OPTIMIZATION_CAPABILITIES"
    ):
        raise ConfigurationError(
            "this CPU has no bfloat16 arithmetic to compile for: "
            'use precision="fp32", or leave compile out'
        )


class CompiledNetwork:
    """A frozen copy of a model, compiled for this CPU and for any number of rows.

    Args:
        model: the model, in evaluation mode.
        num_classes: the number of scores.
        precision: arithmetic of the network.
        shape: shape of one input.

    Raises:
        ModelError: the model cannot be compiled as one graph, as when its Python code looks at
            the values in a batch or at its size.
    """

    def __init__(
        self, model: nn.Module, num_classes: int, precision: Precision, shape: tuple[int, ...]
    ) -> None:
        self._num_classes = num_classes
        self._shape = shape
        try:
            with _COMPILING:
                # A copy: the exporter puts stand-ins in the place of weights meanwhile, and other
                # threads may look at the model.
                graph = _graph(copy.deepcopy(model), shape)
                self._compiled = _core().compile_model(
                    graph,
                    "CPU",
                    {
                        "PERFORMANCE_HINT": "THROUGHPUT",
                        "EXECUTION_MODE_HINT": "ACCURACY",
                        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
                        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                        # Several processes would all take the first cores.
                        "ENABLE_CPU_PINNING": False,
                    },
                )
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            raise ModelError(
                f"the model cannot be compiled for inputs of shape {list(shape)}: "
                f"{type(error).__name__}: {reason}; leave compile out"
            ) from error
        # One more than are worked on, to be filled meanwhile.
        ready = self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS") + 1
        self._at_work = Lock()  # the requests are for one thread at a time
        self._requests = [self._compiled.create_infer_request() for _ in range(ready)]

    def run(self, batches: Iterable[tuple[Key, Tensor]]) -> Iterator[tuple[Key, Tensor]]:
        """As many batches at once as there are requests; the scores come in order all the same."""
        with self._at_work:
            yield from self._run(batches)

    def _run(self, batches: Iterable[tuple[Key, Tensor]]) -> Iterator[tuple[Key, Tensor]]:
        free = deque(self._requests)
        waiting: deque[tuple[Key, Tensor, Any]] = deque()
        try:
            for key, batch in batches:
                request = free.popleft()
                request.start_async({0: batch.numpy()}, share_inputs=True)
                waiting.append((key, batch, request))  # the batch must live as long as its request
                if not free:
                    yield self._finish(waiting, free)
            while waiting:
                yield self._finish(waiting, free)
        finally:
            for _, _, request in waiting:
                request.wait()

    def _finish(
        self, waiting: deque[tuple[Key, Tensor, Any]], free: deque[Any]
    ) -> tuple[Key, Tensor]:
        key, batch, request = waiting[0]
        try:
            request.wait()
        except RuntimeError as error:
            raise ModelError(f"the compiled model failed: {error}") from error
        waiting.popleft()
        scores = torch.from_numpy(request.get_output_tensor(0).data.copy())
        free.append(request)
        return key, check_scores(scores, len(batch), self._num_classes)


def _graph(model: nn.Module, shape: tuple[int, ...]) -> Any:
    """The model as an OpenVINO graph from `[rows, *shape]` float32, whatever the number of rows.

    It goes through the frontend itself because `openvino.convert_model` reports its use to a server
    on the way.
    """
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

    with _quiet():
        rows = torch.export.Dim("rows", min=1, max=2**20)
        exported = torch.export.export(
            model, (torch.zeros(3, *shape),), dynamic_shapes=({0: rows},), strict=False
        )
        # The frontend keeps neither its manager nor what it reads from alive.
        manager = FrontEndManager()
        frontend = manager.load_by_framework("pytorch")
        decoder = TorchFXPythonDecoder.from_exported_program(exported)
        graph = frontend.convert(frontend.load(decoder))
    if len(graph.outputs) != 1:
        raise TypeError(f"it returns {len(graph.outputs)} tensors, not one")
    graph.reshape([-1, *shape])
    return graph


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of the exporter and the frontend about themselves."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _core() -> Any:
    import openvino

    return openvino.Core()
