"""What a TorchScript program is: its code, constants and attributes, as torch would save them."""

import hashlib
import io
import re
import zipfile
from typing import Any

import torch
from torch import nn

from ddrs.networks.frozen import frozen

__all__ = ["program_digest"]

# Classes of one name are told apart by how many were made before in the process.
MANGLED = re.compile(rb"___torch_mangle_\d+\.?")
LINE = re.compile(r"  # \S*:\d+:\d+$", re.MULTILINE)
DEFINITION = re.compile(rb"^(?=class |def )", re.MULTILINE)


def program_digest(program: Any) -> bytes:
    """SHA-256 of a `ScriptModule` or `ScriptFunction`, whatever its process, file and mode.

    Raises:
        RuntimeError: torch cannot save it.
    """
    buffer = io.BytesIO()
    if isinstance(program, nn.Module):
        with frozen(program):  # the mode is an attribute of the program
            torch.jit.save(program, buffer)
    else:
        torch.jit.save(program, buffer)
    graph = LINE.sub("", str(program.inlined_graph))
    digest = hashlib.sha256(MANGLED.sub(b"", graph.encode()))
    values, definitions = [], []
    with zipfile.ZipFile(buffer) as archive:
        for name in archive.namelist():
            member = name.partition("/")[2]
            if member.endswith(".py"):  # which file a class is in depends on its number
                definitions += DEFINITION.split(MANGLED.sub(b"", archive.read(name)))
            elif member.startswith(("data", "constants")):
                values.append((member.encode(), MANGLED.sub(b"", archive.read(name))))
    for part in (*sorted(definitions), *(part for pair in sorted(values) for part in pair)):
        digest.update(b"%d\n" % len(part))
        digest.update(part)
    return digest.digest()
