"""The official packages behind one small face, built from our ``SamConfig``.

Knows ``segment_anything``, ``mobile_sam`` and ``transformers``, each imported when it is asked for,
and nothing of our networks. Inputs and outputs are those of ``Sam.encode_image`` and ``decode``.
"""

import importlib
import importlib.util
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_sam.core.architecture import SamConfig, TinyViTConfig, ViTConfig
from napari_sam.core.hf_keys import to_official
from tests.golden.cases import PromptCase
from tests.golden.seeded import seeded_tensor
from tests.parity.shims import stand_ins

PACKAGES = {
    "segment_anything": "segment-anything",
    "mobile_sam": "mobilesam-mirror",
    "transformers": "transformers",
}
"""Import name to the name that pip knows."""
AS_SHIPPED = "transformers as shipped"


def available(package: str) -> bool:
    """Tell whether a peer can be imported."""
    return importlib.util.find_spec(package) is not None


class Peer(Protocol):
    """An official network with seeded weights."""

    state: dict[str, Tensor]
    """Official key to tensor, the very memory of the network."""

    def encode(self, picture_13HW: Tensor) -> Tensor:
        """Encode a picture, 0 to 255, at the model's scale: (1, C, h, w)."""
        ...

    def decode(
        self, features: Tensor, case: PromptCase, *, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        """Low-res logits (B, M, 4 * h, 4 * w) and scores (B, M)."""
        ...


def build_peer(package: str, config: SamConfig, *, seed: int) -> Peer:
    """Build the network of one of :data:`PACKAGES` (or :data:`AS_SHIPPED`), with seeded weights."""
    return fill_peer(package, config, lambda key, shape: seeded_tensor(key, shape, seed))


def fill_peer(
    package: str, config: SamConfig, make_tensor: Callable[[str, tuple[int, ...]], Tensor]
) -> Peer:
    """As :func:`build_peer`, with a weight for each official key and shape from a function."""
    peer: Peer
    if package.startswith("transformers"):
        peer = TransformersPeer(config, as_shipped=package == AS_SHIPPED)
    else:
        peer = OfficialPeer(package, config)
    with torch.no_grad():
        for key, tensor in peer.state.items():
            tensor.copy_(make_tensor(key, tuple(tensor.shape)))
    if isinstance(peer, OfficialPeer):
        peer.module.eval()  # TinyViT copies its attention biases when eval() is called
    return peer


class OfficialPeer:
    """``segment_anything`` or ``mobile_sam``."""

    def __init__(self, package: str, config: SamConfig) -> None:
        with stand_ins():
            parts: Any = importlib.import_module(f"{package}.modeling")
        grid = config.image_size // config.stride
        if isinstance(config.encoder, TinyViTConfig):
            encoder = _tiny_vit(parts, config.encoder, config.image_size)
        else:
            encoder = _vit(parts, config.encoder, config)
        transformer = parts.TwoWayTransformer(
            depth=config.decoder_depth,
            embedding_dim=config.out_chans,
            mlp_dim=config.decoder_mlp_dim,
            num_heads=config.decoder_num_heads,
        )
        self.module = parts.Sam(
            image_encoder=encoder,
            prompt_encoder=parts.PromptEncoder(
                embed_dim=config.out_chans,
                image_embedding_size=(grid, grid),
                input_image_size=(config.image_size, config.image_size),
                mask_in_chans=config.mask_in_chans,
            ),
            mask_decoder=parts.MaskDecoder(
                num_multimask_outputs=config.num_multimask_outputs,
                transformer=transformer,
                transformer_dim=config.out_chans,
                iou_head_depth=config.iou_head_depth,
                iou_head_hidden_dim=config.iou_head_hidden_dim,
            ),
            pixel_mean=list(config.pixel_mean),
            pixel_std=list(config.pixel_std),
        ).eval()
        self.state: dict[str, Tensor] = self.module.state_dict()

    def encode(self, picture_13HW: Tensor) -> Tensor:
        """Encode a picture."""
        features: Tensor = self.module.image_encoder(self.module.preprocess(picture_13HW))
        return features

    def decode(
        self, features: Tensor, case: PromptCase, *, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        """Answer one prompt case."""
        points = None if case.points is None else (case.points, case.labels)
        sparse, dense = self.module.prompt_encoder(points=points, boxes=case.boxes, masks=case.mask)
        logits, scores = self.module.mask_decoder(
            image_embeddings=features,
            image_pe=self.module.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
        )
        return logits, scores


class TransformersPeer:
    """``transformers``' ``SamModel``; B objects are its "point batch" of one image.

    Its two-way transformer has layer norms with epsilon 1e-6 where the official code, with which
    the weights were trained, has 1e-5. That alone moves the logits by about 1e-4 of their standard
    deviation. ``as_shipped`` leaves it so; otherwise it gets the official value.
    """

    def __init__(self, config: SamConfig, *, as_shipped: bool) -> None:
        hf: Any = importlib.import_module("transformers")
        encoder = config.encoder
        if not isinstance(encoder, ViTConfig):
            raise TypeError("transformers has no TinyViT")
        size = {"image_size": config.image_size, "patch_size": encoder.patch_size}
        vision = hf.SamVisionConfig(
            hidden_size=encoder.embed_dim,
            output_channels=config.out_chans,
            num_hidden_layers=encoder.depth,
            num_attention_heads=encoder.num_heads,
            window_size=encoder.window_size,
            global_attn_indexes=list(encoder.global_attn_indexes),
            mlp_dim=int(encoder.embed_dim * encoder.mlp_ratio),
            num_pos_feats=config.out_chans // 2,
            **size,
        )
        prompt = hf.SamPromptEncoderConfig(
            hidden_size=config.out_chans, mask_input_channels=config.mask_in_chans, **size
        )
        decoder = hf.SamMaskDecoderConfig(
            hidden_size=config.out_chans,
            mlp_dim=config.decoder_mlp_dim,
            num_hidden_layers=config.decoder_depth,
            num_attention_heads=config.decoder_num_heads,
            iou_head_depth=config.iou_head_depth,
            iou_head_hidden_dim=config.iou_head_hidden_dim,
            **({} if as_shipped else {"layer_norm_eps": 1e-5}),
        )
        self.module = hf.SamModel(
            hf.SamConfig(
                vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder
            )
        ).eval()
        self.state = to_official(self.module.state_dict())
        self._mean = torch.tensor(config.pixel_mean).view(1, 3, 1, 1)
        self._std = torch.tensor(config.pixel_std).view(1, 3, 1, 1)
        self._side = config.image_size

    def encode(self, picture_13HW: Tensor) -> Tensor:
        """Encode a picture; normalised and padded here, as the image processor does."""
        height, width = picture_13HW.shape[-2:]
        padding = (0, self._side - width, 0, self._side - height)
        features: Tensor = self.module.get_image_embeddings(
            F.pad((picture_13HW - self._mean) / self._std, padding)
        )
        return features

    def decode(
        self, features: Tensor, case: PromptCase, *, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        """Answer one prompt case."""
        given = {
            "input_points": case.points,
            "input_labels": case.labels,
            "input_boxes": case.boxes,
        }
        answer = self.module(
            image_embeddings=features,
            input_masks=case.mask,
            multimask_output=multimask,
            **{name: None if value is None else value[None] for name, value in given.items()},
        )
        return answer.pred_masks[0], answer.iou_scores[0]


def _vit(parts: Any, encoder: ViTConfig, config: SamConfig) -> nn.Module:
    module: nn.Module = parts.ImageEncoderViT(
        depth=encoder.depth,
        embed_dim=encoder.embed_dim,
        img_size=config.image_size,
        mlp_ratio=encoder.mlp_ratio,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        num_heads=encoder.num_heads,
        patch_size=encoder.patch_size,
        qkv_bias=True,
        use_rel_pos=True,
        global_attn_indexes=list(encoder.global_attn_indexes),
        window_size=encoder.window_size,
        out_chans=config.out_chans,
    )
    return module


def _tiny_vit(parts: Any, encoder: TinyViTConfig, image_size: int) -> nn.Module:
    module: nn.Module = parts.TinyViT(
        img_size=image_size,
        embed_dims=list(encoder.embed_dims),
        depths=list(encoder.depths),
        num_heads=list(encoder.num_heads),
        window_sizes=list(encoder.window_sizes),
        mlp_ratio=encoder.mlp_ratio,
        drop_path_rate=0.0,
        mbconv_expand_ratio=encoder.mbconv_expand_ratio,
        local_conv_size=encoder.local_conv_size,
    )
    grid = image_size // encoder.stride
    if grid != 64:
        _replace_forward(module, grid)
    return module


def _replace_forward(module: Any, grid: int) -> None:
    """Run the peer's own layers on another grid: it has the number 64 in its forward."""

    def forward_features(picture: Tensor) -> Tensor:
        cells = module.patch_embed(picture)
        for layer in module.layers:
            cells = layer(cells)
        cells = cells.transpose(1, 2).unflatten(2, (grid, grid))
        features: Tensor = module.neck(cells)
        return features

    module.forward_features = forward_features


def versions() -> dict[str, str]:
    """Versions of the peers that are here, for the golden files and the report."""
    return {name: version(name) for package, name in PACKAGES.items() if available(package)}
