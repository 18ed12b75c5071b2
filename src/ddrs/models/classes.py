"""Which class of a network each class of a dataset is."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ddrs.errors import ConfigurationError
from ddrs.files import check_file

__all__ = ["matched_classes", "network_classes", "read_class_map"]

SYNSET = re.compile(r"n\d{8}")  # how ImageNet names its classes; sorted, they are in its order
SHOWN = 3  # names in a message


def matched_classes(
    data: Sequence[str], model: Sequence[str], class_map: Mapping[str, str | int] | None = None
) -> list[int]:
    """The class of the network, by its index, for each class of the data.

    Names are equal whatever their case, with spaces or underscores; a network may give several for
    a class, separated by commas. Folders that are numbers are indices, and ImageNet's ids its
    classes in their order, where the data has all of them or `timm` is installed, which lists them.

    Args:
        data: names of the dataset's classes.
        model: names of the network's.
        class_map: name of the dataset -> name or index of the network, for some or all of them.

    Raises:
        ConfigurationError: a class of the data is none of the network's, or two of them are one.
    """
    class_map = {} if class_map is None else class_map
    unknown = [name for name in class_map if name not in data]
    if unknown:
        raise ConfigurationError(
            f"the class map names {_listed(unknown)}, but the data has {_listed(data)}"
        )
    own = _by_name(model)
    ids = _image_net_ids(data, len(model))
    found = [_index(class_map.get(name, name), own, ids, len(model)) for name in data]
    missing = [name for name, index in zip(data, found, strict=True) if index is None]
    if missing:
        raise ConfigurationError(
            f"{_listed(missing)} of the data's classes are none of the network's, such as "
            f"{_listed(model)}: say with --class-map FILE which are which"
        )
    indices = [index for index in found if index is not None]
    twice = [name for name, index in zip(data, indices, strict=True) if indices.count(index) > 1]
    if twice:
        raise ConfigurationError(
            f"{_listed(twice)} of the data's classes are one class of the network: say with "
            "--class-map FILE which are which"
        )
    return indices


def network_classes(
    data: Sequence[str],
    model: Sequence[str] | None,
    count: int,
    class_map: Mapping[str, str | int] | None = None,
) -> list[int] | None:
    """As `matched_classes`, also for a network without names; None where nothing says it.

    Then names of the data that are all numbers or all ImageNet's ids still count, unless the data
    has as many classes as the network.

    Args:
        data: names of the dataset's classes.
        model: names of the network's; None where they are not known.
        count: how many classes the network has.
        class_map: as in `matched_classes`.

    Raises:
        ConfigurationError: a class of the data is none of the network's, or two of them are one.
    """
    if model is None:
        told = all(map(str.isdecimal, data)) or all(map(SYNSET.fullmatch, data))
        if class_map is None and (len(data) == count or not told):
            return None
        model = [str(index) for index in range(count)]
    return matched_classes(data, model, class_map)


def read_class_map(path: str | Path) -> dict[str, str | int]:
    """A JSON object: class of the data -> name or index of the network's class.

    Raises:
        ConfigurationError: the file cannot be read or is none.
    """
    path = Path(path).expanduser()
    try:
        check_file(path)
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"the class map {path} cannot be read: {error}") from error
    if not isinstance(found, dict) or not all(
        isinstance(value, str | int) and not isinstance(value, bool) for value in found.values()
    ):
        raise ConfigurationError(
            f"the class map {path} must be a JSON object of names or indices, such as "
            '{"kitten": "tabby", "puppy": 207}'
        )
    return found


def _index(
    name: str | int, own: Mapping[str, list[int]], ids: Mapping[str, int], count: int
) -> int | None:
    if isinstance(name, str):
        indices = own.get(_plain(name), [])
        if len(indices) == 1:
            return indices[0]
        if name in ids:
            return ids[name]
        if not name.isdecimal():
            return None
    index = int(name)
    return index if 0 <= index < count else None


def _by_name(model: Sequence[str]) -> dict[str, list[int]]:
    """Name -> the classes that have it, which may be several, as ImageNet's two `crane` are."""
    own: defaultdict[str, list[int]] = defaultdict(list)
    for index, names in enumerate(model):
        for name in {_plain(names), *map(_plain, names.split(","))}:
            own[name].append(index)
    return own


def _plain(name: str) -> str:
    return " ".join(re.sub(r"[_\-\s]+", " ", name).split()).casefold()


def _image_net_ids(data: Sequence[str], count: int) -> dict[str, int]:
    """ImageNet's id -> its class, where the data goes by ids and the network can be of them."""
    if count != 1000 or not all(SYNSET.fullmatch(name) for name in data):
        return {}
    if len(data) == count:
        return {name: index for index, name in enumerate(sorted(data))}
    try:
        from timm.data import ImageNetInfo
    except ImportError:
        return {}
    return {name: index for index, name in enumerate(ImageNetInfo().label_names())}


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more
