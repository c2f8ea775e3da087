"""Models that were made on this machine: a name, a weights file, and how they came about.

One JSON beside one safetensors file in a folder of the user's. Knows neither torch nor the
network. The published models are in ``registry.py``, which looks here for other names.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from platformdirs import user_data_path

from napari_sam.core import registry
from napari_sam.core.registry import ModelSpec
from napari_sam.errors import ModelError, UnknownModelError, WeightsError

__all__ = ["all_models", "forget", "models_folder", "provenance", "register", "registered"]

FOLDER_VARIABLE = "NAPARI_SAM_MODELS"
FORMAT = 1
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def models_folder() -> Path:
    """Where they lie: ``$NAPARI_SAM_MODELS``, else ``napari-sam/models`` in the user's data."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return Path(chosen).expanduser() if chosen else user_data_path("napari-sam") / "models"


def all_models() -> Mapping[str, ModelSpec]:
    """The published models, then those registered here, by name."""
    return MappingProxyType({**registry.MODELS, **registered()})


def registered() -> dict[str, ModelSpec]:
    """The models registered on this machine, by name. A damaged entry is left out."""
    found = {}
    for path in sorted(models_folder().glob("*.json")):
        try:
            spec = _read(path)
        except (ModelError, OSError):
            continue
        found[spec.name] = spec
    return found


def register(
    name: str,
    weights: Path,
    *,
    like: str,
    title: str = "",
    description: str = "",
    made: Mapping[str, Any] | None = None,
    replace_old: bool = False,
) -> ModelSpec:
    """Give weights on this machine a name; from then on it is a model like the published ones.

    Parameters
    ----------
    name
        Letters, digits, ``_``, ``.`` and ``-``; not that of a published model.
    weights
        A safetensors file; it is copied.
    like
        Name of the model, published or registered, whose architecture it has.
    title, description
        For people; made of the name where empty.
    made
        How it came about: anything that JSON can say.
    replace_old
        Take the place of a registered model of this name.

    Raises
    ------
    ModelError
        The name cannot be taken.
    UnknownModelError
        There is no model ``like``.
    WeightsError
        There is no such file.
    """
    check_name(name, replace_old=replace_old)
    base = _base(like)
    if not weights.is_file():
        raise WeightsError(f"There is no file {weights} to register as {name!r}.")
    folder = models_folder()
    folder.mkdir(parents=True, exist_ok=True)
    # The hash is in the file's name: the old weights stay whole until the entry has changed.
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    target = folder / f"{name}-{digest[:8]}.safetensors"
    partial = target.with_suffix(".partial")
    shutil.copyfile(weights, partial)
    os.replace(partial, target)
    entry = {
        "format": FORMAT,
        "name": name,
        "like": base.name,
        "title": title or f"{name} (made here from {base.name})",
        "description": description or f"Made on this machine from {base.name}.",
        "file": target.name,
        "size": target.stat().st_size,
        "hash": f"sha256:{digest}",
        "made": dict(made or {}),
    }
    path = folder / f"{name}.json"
    old = _file_of(path)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(entry, indent=2), encoding="utf-8")
    os.replace(partial, path)
    if old is not None and old != target:
        old.unlink(missing_ok=True)
    return _read(path)


def forget(name: str) -> None:
    """Delete a registered model and its weights.

    Raises
    ------
    UnknownModelError
        None of this name is registered here.
    """
    path = models_folder() / f"{name}.json"
    if not path.is_file():
        known = ", ".join(registered()) or "none"
        raise UnknownModelError(f"No model {name!r} was registered here. Registered: {known}.")
    weights = _file_of(path)
    path.unlink()
    if weights is not None:
        weights.unlink(missing_ok=True)


def provenance(name: str) -> dict[str, Any]:
    """What was said when the model was registered about how it came about."""
    path = models_folder() / f"{name}.json"
    made: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["made"]
    return made


def check_name(name: str, *, replace_old: bool = False) -> None:
    """Refuse a name that a new model cannot have; asked before hours of training.

    Raises
    ------
    ModelError
        It is not made of letters and digits, or belongs to another model.
    """
    if not NAME.fullmatch(name):
        raise ModelError(f"{name!r} is no name for a model: use letters, digits, '_', '.', '-'.")
    if name in registry.MODELS:
        raise ModelError(f"{name!r} is the name of a published model: choose another.")
    if not replace_old and name in registered():
        raise ModelError(f"there is a model {name!r} already: choose another name, or replace it.")


def _base(like: str) -> ModelSpec:
    """The published model whose architecture a model has."""
    spec = registry.get_spec(like)
    return registry.MODELS[spec.like or spec.name]


def _read(path: Path) -> ModelSpec:
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        base = registry.MODELS[entry["like"]]
        return replace(
            base,
            name=entry["name"],
            like=base.name,
            title=entry["title"],
            description=entry["description"],
            licence_note=f"Made from {base.name} ({base.licence}); the images decide the rest.",
            source="",
            url=None,
            file_name=str(path.with_name(entry["file"])),
            size_bytes=entry["size"],
            hash=entry["hash"],
            ignored_keys=frozenset(),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is no entry of a registered model ({error!r}).") from error


def _file_of(path: Path) -> Path | None:
    """The weights that an entry names, if it can be read."""
    try:
        return path.with_name(json.loads(path.read_text(encoding="utf-8"))["file"])
    except (OSError, ValueError, KeyError):
        return None
