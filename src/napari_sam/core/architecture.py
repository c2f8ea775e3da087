"""The shapes of a SAM network as plain numbers. Knows neither torch nor any published model.

``core/registry.py`` fills these values in for the published models; ``core/modeling/sam.py``
builds the network from them. No field has a size as its default, so that no literal can hide.
"""

from dataclasses import dataclass
from math import prod

from napari_sam.errors import ModelError


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """Plain vision transformer with windowed and global blocks (SAM, appendix A; ViTDet).

    Attributes
    ----------
    patch_size
        Side of a patch in pixels; also the stride of the image embedding.
    embed_dim
        Width of a token.
    depth
        Number of transformer blocks.
    num_heads
        Attention heads per block; divides ``embed_dim``.
    window_size
        Side in tokens of the windows of the blocks that are not global.
    global_attn_indexes
        Which blocks, counted from 0, attend to the whole grid.
    mlp_ratio
        Hidden width of a block's MLP over ``embed_dim``.
    """

    patch_size: int
    embed_dim: int
    depth: int
    num_heads: int
    window_size: int
    global_attn_indexes: tuple[int, ...]
    mlp_ratio: float = 4.0

    def __post_init__(self) -> None:
        """Refuse heads that do not divide the width and global blocks that do not exist."""
        _require_divisible(self.embed_dim, self.num_heads, "embed_dim")
        if any(not 0 <= index < self.depth for index in self.global_attn_indexes):
            raise ModelError(
                f"global_attn_indexes {self.global_attn_indexes} name a block outside"
                f" 0..{self.depth - 1}"
            )

    @property
    def stride(self) -> int:
        """Pixels of the model's input per cell of the image embedding."""
        return self.patch_size


@dataclass(frozen=True, kw_only=True)
class TinyViTConfig:
    """TinyViT as MobileSAM uses it: a convolution stage, then windowed transformer stages.

    Attributes
    ----------
    embed_dims, depths, num_heads, window_sizes
        One value a stage. The first stage is convolutional: its heads and window are unused.
    merge_strides
        Stride of the merging between one stage and the next: one value fewer than stages.
    mlp_ratio, mbconv_expand_ratio
        Hidden width over stage width in the transformer and convolution stages.
    local_conv_size
        Side in pixels of the depthwise convolution between attention and MLP; odd.
    """

    embed_dims: tuple[int, ...]
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    window_sizes: tuple[int, ...]
    merge_strides: tuple[int, ...]
    mlp_ratio: float = 4.0
    mbconv_expand_ratio: float = 4.0
    local_conv_size: int = 3

    def __post_init__(self) -> None:
        """Refuse stages of unequal number and heads that do not divide a stage's width."""
        per_stage = (self.depths, self.num_heads, self.window_sizes, (*self.merge_strides, 1))
        if any(len(values) != len(self.embed_dims) for values in per_stage):
            raise ModelError(
                "embed_dims, depths, num_heads and window_sizes need one value a stage and"
                " merge_strides one fewer"
            )
        for width, heads in zip(self.embed_dims[1:], self.num_heads[1:], strict=True):
            _require_divisible(width, heads, "a stage's embed_dim")

    @property
    def stride(self) -> int:
        """Pixels of the model's input per cell of the image embedding."""
        stem = 4  # two convolutions of stride 2: part of the architecture, not a size to choose
        return stem * prod(self.merge_strides)


@dataclass(frozen=True, kw_only=True)
class SamConfig:
    """A whole SAM: image encoder, prompt encoder and mask decoder.

    Attributes
    ----------
    encoder
        Shape of the image encoder; its type says which encoder.
    image_size
        Side in pixels of the square canvas that the position tables belong to. Other canvases
        work, with interpolated tables.
    out_chans
        Channels of the image embedding and width of the prompt and decoder tokens.
    mask_in_chans
        Hidden channels of the mask prompt's convolutions.
    decoder_depth, decoder_num_heads, decoder_mlp_dim
        Two-way transformer: blocks, heads, hidden width of its MLPs.
    iou_head_depth, iou_head_hidden_dim
        MLP that predicts the masks' scores.
    num_multimask_outputs
        Candidate masks of a multimask answer.
    pixel_mean, pixel_std
        Normalisation of the red, green and blue channel, on the scale 0..255.
    """

    encoder: ViTConfig | TinyViTConfig
    image_size: int
    out_chans: int
    mask_in_chans: int
    decoder_depth: int
    decoder_num_heads: int
    decoder_mlp_dim: int
    iou_head_depth: int
    iou_head_hidden_dim: int
    num_multimask_outputs: int = 3
    pixel_mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    pixel_std: tuple[float, float, float] = (58.395, 57.12, 57.375)

    def __post_init__(self) -> None:
        """Refuse a canvas that is no whole number of cells and heads that do not fit."""
        _require_divisible(self.image_size, self.encoder.stride, "image_size")
        _require_divisible(self.out_chans // 2, self.decoder_num_heads, "half of out_chans")

    @property
    def stride(self) -> int:
        """Pixels of the model's input per cell of the image embedding."""
        return self.encoder.stride


@dataclass(frozen=True, kw_only=True)
class MicroConfig:
    """Our own small model: convolutions to stride 8, attention at stride 16, masks at stride 4.

    Attributes
    ----------
    stage_dims, stage_depths
        Channels and residual blocks at strides 2, 4 and 8.
    embed_dim, depth, num_heads, window_size
        Of the transformer at stride 16; every third block is global.
    out_chans, skip_chans
        Channels of the image embedding (stride 8) and of the finer features (stride 4).
    mask_in_chans
        Hidden channels of the mask prompt's convolutions.
    decoder_depth, decoder_num_heads
        Two-way transformer: blocks and heads.
    """

    stage_dims: tuple[int, int, int]
    stage_depths: tuple[int, int, int]
    embed_dim: int
    depth: int
    num_heads: int
    window_size: int
    out_chans: int
    skip_chans: int
    mask_in_chans: int
    decoder_depth: int
    decoder_num_heads: int

    def __post_init__(self) -> None:
        """Refuse heads that do not divide a width."""
        _require_divisible(self.embed_dim, self.num_heads, "embed_dim")
        _require_divisible(self.out_chans // 2, self.decoder_num_heads, "half of out_chans")


def _require_divisible(value: int, divisor: int, what: str) -> None:
    if value % divisor:
        raise ModelError(f"{what} is {value}, which {divisor} does not divide")
