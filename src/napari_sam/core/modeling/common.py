"""What the networks share: encoder output, layers, building without initialising. Torch only.

Suffixes of tensor names in this package: B objects or images, C channels, H W pixels, h w grid
cells, N tokens or points, D embedding width.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

EMPTY_LOGIT = -32.0
"""Fills the low-res logits of a candidate whose mask was not asked for."""


class EncodedImage(NamedTuple):
    """Output of an image encoder.

    Attributes
    ----------
    features
        (1, C, h, w) image embedding that the mask decoder attends to.
    skip
        (1, C4, h4, w4) finer features for the mask head of our own model; None for SAM.
    """

    features: Tensor
    skip: Tensor | None = None


class LayerNorm2d(nn.Module):
    """Layer norm over the channels of a (B, C, H, W) tensor."""

    def __init__(self, num_channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_channels))
        self.bias = nn.Parameter(torch.zeros(num_channels))
        self.eps = eps

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Normalise each pixel's channel vector; shape unchanged."""
        mean = x_BCHW.mean(1, keepdim=True)
        centred = x_BCHW - mean
        variance = centred.pow(2).mean(1, keepdim=True)
        normal = centred / torch.sqrt(variance + self.eps)
        return self.weight[:, None, None] * normal + self.bias[:, None, None]


class MLPBlock(nn.Module):
    """Two linear layers with an activation between them (official names ``lin1``, ``lin2``)."""

    def __init__(self, embedding_dim: int, mlp_dim: int, *, act: type[nn.Module] = nn.GELU) -> None:
        super().__init__()
        self.lin1 = nn.Linear(embedding_dim, mlp_dim)
        self.lin2 = nn.Linear(mlp_dim, embedding_dim)
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., embedding_dim) to (..., embedding_dim)."""
        out: Tensor = self.lin2(self.act(self.lin1(x)))
        return out


class _SkipInit(TorchFunctionMode):
    """Turns every function of ``torch.nn.init`` into one that does nothing."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@contextmanager
def uninitialised() -> Iterator[None]:
    """Modules built inside, in this thread, have unset memory as their parameters.

    For a network whose weights are loaded at once: random numbers for 90 M parameters take
    longer than reading the file. The meta device would do the same, but its first use costs
    more than it saves.
    """
    with _SkipInit():
        yield
