"""What of a network learns when it is fine-tuned: all, the decoder, or small additions (LoRA).

Knows networks by their parts' names; nothing of images.
"""

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from napari_sam.errors import TrainingError

Scope = Literal["decoder", "lora", "all"]
ADAPTED = ("qkv", "proj")  # of each attention in the encoder


class LowRank(nn.Module):
    """A matrix plus the product of two thin ones (Hu et al. 2022), which begins at zero.

    Parameters
    ----------
    matrix
        (out, in), what is added to.
    rank
        Width of the thin matrices.
    """

    def __init__(self, matrix: Tensor, rank: int) -> None:
        super().__init__()
        rank = min(rank, *matrix.shape)
        self.down = nn.Parameter(matrix.new_empty(rank, matrix.shape[1]))
        self.up = nn.Parameter(matrix.new_zeros(matrix.shape[0], rank))
        nn.init.normal_(self.down, std=rank**-0.5)

    def forward(self, matrix: Tensor) -> Tensor:
        """Shape unchanged."""
        return matrix + self.up @ self.down


def choose_learners(model: nn.Module, scope: Scope, *, rank: int = 4) -> None:
    """Let only a part of the network learn.

    Parameters
    ----------
    model
        A network of the registry, freshly loaded.
    scope
        ``"all"``; ``"decoder"``: prompt encoder and mask decoder; ``"lora"``: those, and
        low-rank additions to the attention of the image encoder.
    rank
        Of the additions.

    Raises
    ------
    TrainingError
        There is no such scope, the rank is none, or the encoder has no attention.
    """
    if scope not in get_args(Scope):
        raise TrainingError(f"scope is {scope!r}; it must be one of {', '.join(get_args(Scope))}.")
    if scope == "all":
        model.requires_grad_(True)
        return
    encoder = model.image_encoder
    assert isinstance(encoder, nn.Module)
    encoder.requires_grad_(False)
    if scope == "lora":
        if rank < 1:
            raise TrainingError(f"rank is {rank}; it must be at least 1.")
        if not (layers := adapted_layers(encoder)):
            raise TrainingError("the encoder has no attention to add to: choose another scope.")
        for layer in layers:
            parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank))


def merge_adapters(model: nn.Module) -> None:
    """Add the low-rank products to their matrices: the network has its usual names again."""
    for layer in adapted_layers(model):
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def adapted_layers(module: nn.Module) -> list[nn.Linear]:
    """The linear layers of attentions."""
    return [
        child
        for name, child in module.named_modules()
        if name.rpartition(".")[2] in ADAPTED and isinstance(child, nn.Linear)
    ]


def trained_share(model: nn.Module) -> float:
    """Share of the parameters that learn."""
    counts = torch.tensor([[p.numel(), p.numel() * p.requires_grad] for p in model.parameters()])
    total, learning = counts.sum(0).tolist()
    return float(learning / total)
