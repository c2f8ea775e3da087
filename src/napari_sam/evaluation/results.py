"""Results of single images on disk, kept as they come, so that a killed evaluation goes on.

A folder for each one who answers (a model, or "classical methods"): ``about.json`` says what the
results depend on, ``<protocol>.jsonl`` has a line an image. Knows dataclasses; knows no protocol.
"""

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from napari_sam.errors import StoreMismatchError

ABOUT = "about.json"
_R = TypeVar("_R")


@dataclass(frozen=True)
class ResultStore:
    """Results of one who answers, image by image.

    Open it with :func:`open_results`, which looks whether what is there fits.

    Attributes
    ----------
    folder
        Where the files are.
    """

    folder: Path

    def read(self, protocol: str, kind: type[_R]) -> dict[str, list[_R]]:
        """What is there of a protocol: key of an image -> its results.

        A line that a kill has cut off counts as not written: its image is asked again.
        """
        path = self._path(protocol)
        found: dict[str, list[_R]] = {}
        for line in path.read_bytes().split(b"\n") if path.exists() else ():
            try:
                content = json.loads(line)
                found[content["image"]] = [restore(kind, one) for one in content["results"]]
            except (ValueError, KeyError, TypeError):
                continue
        return found

    def add(self, protocol: str, image: str, results: Sequence[Any]) -> None:
        """Write the results of one image; they are on disk when this returns.

        Several processes may add to one folder. The line break in front parts a line from one that
        was cut off.
        """
        content = {"image": image, "results": [asdict(result) for result in results]}
        with self._path(protocol).open("ab") as file:
            file.write(b"\n" + json.dumps(content).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _path(self, protocol: str) -> Path:
        return self.folder / f"{protocol}.jsonl"


def open_results(folder: Path, name: str, about: Mapping[str, object]) -> ResultStore:
    """Open the results of ``name`` below a folder, or begin them.

    Parameters
    ----------
    folder
        Of the whole evaluation; is created.
    name
        Who answers.
    about
        What the results depend on: model, weights, settings.

    Raises
    ------
    StoreMismatchError
        Results are there that were made otherwise; the message names the first difference.
    """
    own = folder / _file_name(name)
    path = own / ABOUT
    wanted = json.loads(json.dumps(dict(about)))
    if path.exists():
        stored = json.loads(path.read_text(encoding="utf-8"))
        for key in sorted({*stored, *wanted}):
            if stored.get(key) != wanted.get(key):
                raise StoreMismatchError(
                    f"{own} holds results with {key} = {stored.get(key)!r}, now it is"
                    f" {wanted.get(key)!r}: take another folder, or delete that one."
                )
    else:
        own.mkdir(parents=True, exist_ok=True)
        whole = path.with_suffix(f".{os.getpid()}")
        whole.write_text(json.dumps(wanted, indent=1), encoding="utf-8")
        whole.replace(path)  # so that a kill leaves no half of it
    return ResultStore(own)


def restore(kind: Any, value: Any) -> Any:
    """Make a value of a type from what JSON holds of it: dataclasses, tuples, mappings, numbers.

    Raises
    ------
    TypeError
        The value does not fit the type.
    """
    if is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, dict):
            raise TypeError(f"{value!r} is no {kind.__name__}")
        hints = get_type_hints(kind)
        return kind(**{f.name: restore(hints[f.name], value[f.name]) for f in fields(kind)})
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        each = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
        return tuple(restore(one, part) for one, part in zip(each, value, strict=True))
    return value


def _file_name(name: str) -> str:
    """Letters, digits and dashes of a name; a hash where that is not all of it."""
    plain = "".join(c if c.isalnum() or c in "-_." else "-" for c in name)
    return plain if plain == name else f"{plain}-{zlib.crc32(name.encode()):08x}"
