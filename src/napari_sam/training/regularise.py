"""What is done to an encoder's blocks while it trains: skip some at random, or recompute them.

Works on any encoder whose blocks keep the shape of what they get; the network's code knows nothing
of it.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class DropPath:
    """Stochastic depth (Huang et al. 2016): whole blocks are skipped, image by image.

    Parameters
    ----------
    encoder
        Its blocks are found by :func:`encoder_blocks`.
    rate
        Chance for the last block; it falls linearly to 0 at the first.
    """

    def __init__(self, encoder: nn.Module, rate: float) -> None:
        self.generator = torch.Generator()
        blocks = list(encoder_blocks(encoder))
        self.handles = [
            block.register_forward_hook(partial(self._skip, rate * i / max(len(blocks) - 1, 1)))
            for i, block in enumerate(blocks)
            if rate and i
        ]

    def seed(self, number: int) -> None:
        """Make what is skipped next a function of ``number``."""
        self.generator.manual_seed(number)

    def _skip(self, rate: float, block: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
        if not block.training:
            return None
        before = inputs[0]
        shape = (before.shape[0], *[1] * (before.ndim - 1))
        kept = (torch.rand(shape, generator=self.generator) >= rate).to(output)
        mixed: Tensor = before + (output - before) * (kept / (1 - rate)).to(output.dtype)
        return mixed


def recompute_blocks(encoder: nn.Module) -> None:
    """Keep only what goes into each block; the rest is computed again for the gradients."""
    for block in encoder_blocks(encoder):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def encoder_blocks(encoder: nn.Module) -> Iterator[nn.Module]:
    """The transformer (or MBConv) blocks of an image encoder, first to last."""
    for name, module in encoder.named_children():
        if name == "blocks" and isinstance(module, nn.ModuleList):
            yield from module
        elif name == "layers" and isinstance(module, nn.ModuleList):
            for stage in module:
                yield from encoder_blocks(stage)


def keep_norms(model: nn.Module) -> None:
    """Leave batch norms as they were trained: the statistics of a few crops are worse."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
