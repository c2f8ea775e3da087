"""The whole SAM and its builder. Knows torch only: no files, no image formats, no (y, x)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_sam.core.architecture import SamConfig, TinyViTConfig
from napari_sam.core.modeling.common import EncodedImage, uninitialised
from napari_sam.core.modeling.image_encoder import ImageEncoderViT
from napari_sam.core.modeling.mask_decoder import MaskDecoder
from napari_sam.core.modeling.prompt_encoder import PromptEncoder
from napari_sam.core.modeling.tiny_vit import TinyViT
from napari_sam.core.modeling.transformer import TwoWayTransformer
from napari_sam.errors import ImageError


class Sam(nn.Module):
    """Segment Anything (Kirillov et al., 2023): encode an image once, decode prompts on it.

    Its state dict has the keys of the published checkpoints. Both methods are functions of
    their arguments: nothing is remembered between calls.

    Parameters
    ----------
    config
        Shape of the network.
    """

    def __init__(self, config: SamConfig) -> None:
        super().__init__()
        self.config = config
        self.image_encoder = _build_image_encoder(config)
        self.prompt_encoder = PromptEncoder(
            config.out_chans, mask_in_chans=config.mask_in_chans, stride=config.stride
        )
        self.mask_decoder = MaskDecoder(
            config.out_chans,
            TwoWayTransformer(
                config.out_chans,
                depth=config.decoder_depth,
                num_heads=config.decoder_num_heads,
                mlp_dim=config.decoder_mlp_dim,
            ),
            num_multimask_outputs=config.num_multimask_outputs,
            iou_head_depth=config.iou_head_depth,
            iou_head_hidden_dim=config.iou_head_hidden_dim,
        )
        self.pixel_mean: Tensor
        self.pixel_std: Tensor
        for name in ("pixel_mean", "pixel_std"):
            values = torch.tensor(getattr(config, name), dtype=torch.float32)
            self.register_buffer(name, values.view(1, 3, 1, 1), persistent=False)

    def encode_image(self, picture_13HW: Tensor, *, canvas: tuple[int, int]) -> EncodedImage:
        """Run the image encoder.

        Parameters
        ----------
        picture_13HW
            (1, 3, H, W) float RGB, 0 to 255, already at the model's scale.
        canvas
            (height, width) in pixels to which the picture is padded at the bottom and right;
            multiples of the stride. The published models saw one size only: their registry
            entry names it, other sizes work with interpolated position tables.

        Returns
        -------
        EncodedImage
            Image embedding (1, C, height / stride, width / stride), no skip features.

        Raises
        ------
        ImageError
            The picture is larger than the canvas, or the canvas is no multiple of the stride.
        """
        height, width = picture_13HW.shape[-2:]
        stride = self.config.stride
        if height > canvas[0] or width > canvas[1] or canvas[0] % stride or canvas[1] % stride:
            raise ImageError(
                f"a picture of {height} x {width} pixels does not fit a canvas of"
                f" {canvas[0]} x {canvas[1]}: it must be as large and a multiple of {stride}"
            )
        normal = (picture_13HW - self.pixel_mean) / self.pixel_std
        # Padding after normalising: the margin is the mean colour, as in training.
        padded = F.pad(normal, (0, canvas[1] - width, 0, canvas[0] - height))
        return EncodedImage(self.image_encoder(padded))

    def decode(
        self,
        encoded: EncodedImage,
        *,
        points: Tensor | None,
        labels: Tensor | None,
        boxes: Tensor | None,
        mask: Tensor | None,
        multimask: bool | None,
        least_score: float | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Answer the prompts of B objects; what is None was not given.

        Parameters
        ----------
        encoded
            Answer of :meth:`encode_image` for one image.
        points
            (B, N, 2) x and y in pixels of the canvas, whole numbers at the pixels' corners.
        labels
            (B, N) 1 object, 0 background, -1 no point (padding).
        boxes
            (B, 4) x0, y0, x1, y1 in pixels of the canvas.
        mask
            (B, 1, 4 * h, 4 * w) low-res logits of an earlier answer.
        multimask
            Several candidates (for a prompt that may mean several things), or a single mask;
            None: the single mask, then the candidates, for training.
        least_score
            Candidates whose score is not above it are not formed: their logits are
            ``EMPTY_LOGIT``.

        Returns
        -------
        tuple of Tensor
            Low-res logits (B, M, 4 * h, 4 * w) and scores (B, M).
        """
        grid = (encoded.features.shape[-2], encoded.features.shape[-1])
        sparse, dense = self.prompt_encoder(
            grid=grid, points=points, labels=labels, boxes=boxes, mask=mask
        )
        logits, scores = self.mask_decoder(
            encoded.features,
            positions=self.prompt_encoder.image_positions,
            sparse=sparse,
            dense=dense,
            multimask=multimask,
            least_score=least_score,
        )
        return logits, scores


def build_sam(config: SamConfig, *, init_weights: bool = True) -> Sam:
    """Build a network of the given shape, in training mode.

    Parameters
    ----------
    config
        Shape of the network.
    init_weights
        False leaves the parameters as unset memory, for when a state dict follows at once
        (``load_state_dict(..., assign=True)``): several times faster.

    Returns
    -------
    Sam
        On the CPU, in float32.
    """
    if init_weights:
        return Sam(config)
    with uninitialised():
        return Sam(config)


def _build_image_encoder(config: SamConfig) -> ImageEncoderViT | TinyViT:
    if isinstance(config.encoder, TinyViTConfig):
        return TinyViT(config.encoder, out_chans=config.out_chans)
    grid_size = config.image_size // config.stride
    return ImageEncoderViT(config.encoder, grid_size=grid_size, out_chans=config.out_chans)
