"""The small networks and the prompts that the golden files were made with. Knows no peer."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from napari_sam.core.architecture import SamConfig, TinyViTConfig, ViTConfig
from tests.golden.seeded import standard_normal

FOLDER = Path(__file__).parent
SEED = 20
# Neither square nor a multiple of the patch: padding and both axes matter.
PICTURE_SIZE = (105, 123)

VIT = SamConfig(
    # 8 x 8 patches in windows of 3: the last windows are padded.
    encoder=ViTConfig(
        patch_size=16,
        embed_dim=32,
        depth=3,
        num_heads=2,
        window_size=3,
        global_attn_indexes=(1,),
    ),
    image_size=128,
    out_chans=32,
    mask_in_chans=8,
    decoder_depth=2,
    decoder_num_heads=4,
    decoder_mlp_dim=48,
    iou_head_depth=3,
    iou_head_hidden_dim=24,
)
TINY_VIT = SamConfig(
    # The peer merges with stride 1 where a stage is 320 wide, and its neck has 256 channels.
    encoder=TinyViTConfig(
        embed_dims=(16, 24, 32, 320),
        depths=(1, 2, 1, 1),
        num_heads=(2, 2, 4, 5),
        window_sizes=(7, 3, 5, 3),
        merge_strides=(2, 2, 1),
    ),
    image_size=128,
    out_chans=256,
    mask_in_chans=16,
    decoder_depth=2,
    decoder_num_heads=8,
    decoder_mlp_dim=48,
    iou_head_depth=3,
    iou_head_hidden_dim=24,
)


def keys_digest(state: Mapping[str, Tensor]) -> dict[str, object]:
    """Count the keys of a state dict and hash them together with their shapes."""
    lines = sorted(f"{key} {tuple(value.shape)}" for key, value in state.items())
    return {"count": len(lines), "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest()}


@dataclass(frozen=True)
class PromptCase:
    """Prompts of B objects in pixels of the model input, x before y.

    ``points`` (B, N, 2), ``labels`` (B, N), ``boxes`` (B, 4), ``mask`` (B, 1, h, w).
    """

    name: str
    points: Tensor | None = None
    labels: Tensor | None = None
    boxes: Tensor | None = None
    mask: Tensor | None = None


def prompt_cases(image_size: int, mask_side: int, *, valid: tuple[int, int]) -> list[PromptCase]:
    """One case of each kind of prompt.

    Parameters
    ----------
    image_size
        Side of the canvas in pixels; only names the spread of what lies outside the picture.
    mask_side
        Side of low-res logits.
    valid
        (height, width) of the picture on the canvas: prompts lie inside.
    """
    height, width = valid

    def place(*parts: tuple[float, float]) -> Tensor:
        return torch.tensor([[x * width, y * height] for x, y in parts], dtype=torch.float32)

    one = place((0.41, 0.53))[None]
    several = torch.stack(
        [place((0.3, 0.3), (0.62, 0.44), (0.11, 0.9)), place((0.5, 0.7), (0.9, 0.1), (0.0, 0.0))]
    )
    labels = torch.tensor([[1, 1, 0], [1, 0, -1]])
    boxes = torch.cat([place((0.2, 0.25), (0.7, 0.8)), place((0.05, 0.4), (0.5, 0.95))]).view(2, 4)
    name = f"mask.{image_size}.{mask_side}"
    mask = torch.from_numpy(4 * standard_normal(name, (1, 1, mask_side, mask_side), SEED))
    return [
        PromptCase("nothing"),
        PromptCase("one point", one, torch.tensor([[1]])),
        PromptCase("several points", several, labels),
        PromptCase("box", boxes=boxes),
        PromptCase("box and points", several, labels, boxes=boxes),
        PromptCase("mask", mask=mask),
        PromptCase("point and mask", one, torch.tensor([[1]]), mask=mask),
        PromptCase("box and mask", boxes=boxes[:1], mask=mask),
    ]
