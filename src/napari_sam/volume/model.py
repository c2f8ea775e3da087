"""Which model a job uses, as a value that can be sent to other processes.

Knows the registry and the loader; each process loads a model once.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from napari_sam.core.engines import Backend, Precision
from napari_sam.core.registry import DEFAULT_MODEL, get_spec
from napari_sam.core.weights import find
from napari_sam.errors import WeightsError

if TYPE_CHECKING:
    from napari_sam.core.automatic import EncodesAndDecodes
    from napari_sam.core.predictor import Predictor

__all__ = ["Given", "ModelChoice", "PredictorSource"]


class PredictorSource(Protocol):
    """What a job needs of a model: a small picklable value."""

    def load(self) -> "EncodesAndDecodes":
        """The predictor; the same one at each call in a process."""
        ...

    def identity(self) -> dict[str, Any]:
        """What decides its results: plain values for the manifest."""
        ...


class Given:
    """A predictor that is there already, as a source of one.

    Parameters
    ----------
    predictor
        The predictor.
    name
        What a manifest calls it.
    """

    def __init__(self, predictor: "EncodesAndDecodes", name: str = "given") -> None:
        self._predictor, self._name = predictor, name

    def load(self) -> "EncodesAndDecodes":
        """The predictor."""
        return self._predictor

    def identity(self) -> dict[str, str]:
        """Its name."""
        return {"name": self._name}


@dataclass(frozen=True)
class ModelChoice:
    """A model of the registry, with the arguments of :func:`~napari_sam.load_predictor`."""

    name: str = DEFAULT_MODEL
    weights: str | None = None
    device: str = "auto"
    precision: Precision = "exact"
    backend: Backend = "auto"

    def load(self) -> "Predictor":
        """Load it, once in a process."""
        return _load(self)

    def load_anew(self) -> "Predictor":
        """Load it, for whoever keeps predictors himself."""
        from napari_sam.core.predictor import load_predictor

        return load_predictor(
            self.name,
            weights=self.weights,
            device=self.device,
            precision=self.precision,
            backend=self.backend,
        )

    def identity(self) -> dict[str, Any]:
        """Name, sha256 of the weights, and precision: not the device, nor what computes.

        Raises
        ------
        WeightsError
            The weights are not on this machine.
        """
        spec = get_spec(self.name)
        path = Path(self.weights) if self.weights else find(spec)
        if path is None or not path.exists():
            raise WeightsError(
                f"the weights of {self.name} are not on this machine; get them with"
                f" `napari-sam models download {self.name}`."
            )
        return {"name": self.name, "weights_sha256": _sha256(path), "precision": self.precision}


@lru_cache(maxsize=1)
def _load(choice: ModelChoice) -> "Predictor":
    return choice.load_anew()


def _sha256(path: Path) -> str:
    """Of a file, or of all files of a folder in the order of their names."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for name in files:
        with name.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
