"""Who takes part: name -> contender, ready or with the reason why not."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from benchmarks.contenders import (
    OFFICIAL,
    Ability,
    Contender,
    MicroSam,
    Official,
    Ours,
    Picture,
    Transformers,
    Unavailable,
)
from benchmarks.exported import OnnxRuntime, OpenVino

_T = TypeVar("_T")
_LINEUP: Mapping[str, tuple[type[Contender], dict[str, str]]] = MappingProxyType(
    {
        OFFICIAL: (Official, {}),
        "transformers": (Transformers, {}),
        "onnxruntime": (OnnxRuntime, {}),
        "openvino fp32": (OpenVino, {"precision": "f32"}),
        "openvino bf16": (OpenVino, {"precision": "bf16"}),
        "ours exact": (Ours, {"precision": "exact"}),
        "ours fast": (Ours, {"precision": "fast"}),
        "micro-sam": (MicroSam, {}),
    }
)
NAMES = tuple(_LINEUP)
"""All contenders, in the order of the tables."""


def build(name: str, model: str, ability: Ability, folder: Path) -> Contender:
    """Load a contender.

    Raises
    ------
    Unavailable
        It does not take part, and why.
    """
    kind, arguments = _LINEUP[name]
    if ability not in kind.abilities:
        raise Unavailable(f"does not take part in {ability!r}")
    make: Callable[..., Contender] = kind
    return make(model, folder, **arguments)


def build_all(
    wanted: Sequence[str],
    model: str,
    ability: Ability,
    folder: Path,
    *,
    picture: Picture | None = None,
) -> tuple[dict[str, Contender], dict[str, str]]:
    """Load contenders and let them encode a picture.

    Returns
    -------
    tuple of dict
        Those that take part, by name; the reasons of those that do not.
    """
    ready: dict[str, Contender] = {}
    skipped: dict[str, str] = {}
    for name in wanted:
        try:
            contender = _attempt(name, partial(build, name, model, ability, folder))
            if picture is not None:
                _attempt(name, partial(contender.look_at, picture))
        except Unavailable as reason:
            skipped[name] = str(reason)
        else:
            ready[name] = contender
    return ready, skipped


def _attempt(name: str, call: Callable[[], _T]) -> _T:
    """A peer that breaks is skipped and says why; ours must not break."""
    try:
        return call()
    except Unavailable:
        raise
    except Exception as error:
        if name.startswith("ours"):
            raise
        reason = str(error).strip().splitlines() or [""]
        raise Unavailable(f"failed with {type(error).__name__}: {reason[0]}") from error
