from .loaded import LoadedModel
from .loading import load
from .run import ARCHITECTURE_FOLDER, WEIGHTS_FILE, RunConfig, read_run_config, save_architecture
from .starting import Start, start
from .weights import load_weights

__all__ = [
    "ARCHITECTURE_FOLDER",
    "WEIGHTS_FILE",
    "LoadedModel",
    "RunConfig",
    "Start",
    "load",
    "load_weights",
    "read_run_config",
    "save_architecture",
    "start",
]
