"""How good weights are on held-out images, while they are trained: evaluation's own measures.

Knows the evaluation of single images; nothing of what is done with the figures.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from napari_sam.core.predictor import Predictor
from napari_sam.core.registry import ModelSpec
from napari_sam.core.runtime import Runtime
from napari_sam.evaluation.datasets import Sample
from napari_sam.evaluation.interactive import ObjectResult, evaluate_sample
from napari_sam.evaluation.params import EvaluationParams


@dataclass(frozen=True)
class Figures:
    """Mean IoU over objects, each of them once.

    Attributes
    ----------
    click, oracle, box
        With one click, the best of its three masks by the truth, and with a tight box.
    last_click
        After the last corrective click.
    objects
        How many.
    """

    click: float
    oracle: float
    box: float
    last_click: float
    objects: int

    @property
    def overall(self) -> float:
        """What weights are chosen by: the mean of one click, a box, and corrections."""
        return (self.click + self.box + self.last_click) / 3

    @classmethod
    def of(cls, results: Sequence[ObjectResult]) -> "Figures":
        """The means; not a number where there is no object."""
        if not results:
            return cls(math.nan, math.nan, math.nan, math.nan, 0)
        rows = [(r.clicks[0], r.oracle, r.box, r.clicks[-1]) for r in results]
        click, oracle, box, last = (float(v) for v in np.mean(rows, 0))
        return cls(click, oracle, box, last, len(rows))


def validate(
    model: nn.Module,
    spec: ModelSpec,
    samples: Sequence[Sample],
    params: EvaluationParams,
    *,
    weights: Mapping[str, Tensor] | None = None,
) -> Figures:
    """Ask a network about the objects of labelled images.

    Parameters
    ----------
    model
        A network of the registry, on any device; afterwards as it was.
    spec
        Sizes of its input.
    samples, params
        Images, and how objects of them are chosen.
    weights
        To be judged in place of the network's own.
    """
    with posing(model, spec, weights) as predictor:
        results = [r for s in samples for r in evaluate_sample(predictor, s, params)]
    return Figures.of(results)


@contextmanager
def posing(
    model: nn.Module, spec: ModelSpec, weights: Mapping[str, Tensor] | None
) -> Iterator[Predictor]:
    """The network as a predictor, in eval mode and with other weights for a while."""
    device = next(model.parameters()).device
    modes = [(module, module.training) for module in model.modules()]
    own = {n: v.detach().clone() for n, v in model.state_dict().items()} if weights else None
    generator = torch.get_rng_state()
    model.eval()
    if weights:
        model.load_state_dict(weights)
    try:
        yield Predictor(model, spec, runtime=Runtime(device, "exact"))  # type: ignore[arg-type]
    finally:
        if own:
            model.load_state_dict(own)
        for module, mode in modes:
            module.training = mode
        torch.set_rng_state(generator)
