"""Names of Hugging Face's ``SamModel`` parameters to the official ones. Knows names only.

Nothing is reshaped: the two implementations store the same arrays. Keys that are official already
pass through unchanged, so a file of either kind can be given.
"""

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

Array = TypeVar("Array")

# Tried in order, each on the result of the one before.
_RENAMES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^vision_encoder\.patch_embed\.projection\.", "image_encoder.patch_embed.proj."),
        (r"^vision_encoder\.neck\.conv1\.", "image_encoder.neck.0."),
        (r"^vision_encoder\.neck\.layer_norm1\.", "image_encoder.neck.1."),
        (r"^vision_encoder\.neck\.conv2\.", "image_encoder.neck.2."),
        (r"^vision_encoder\.neck\.layer_norm2\.", "image_encoder.neck.3."),
        (r"^vision_encoder\.layers\.(\d+)\.layer_norm(\d)\.", r"image_encoder.blocks.\1.norm\2."),
        (r"^vision_encoder\.layers\.", "image_encoder.blocks."),
        (r"^vision_encoder\.", "image_encoder."),
        (
            r"^shared_image_embedding\.positional_embedding$",
            "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        ),
        (r"^prompt_encoder\.point_embed\.", "prompt_encoder.point_embeddings."),
        (r"^prompt_encoder\.mask_embed\.conv1\.", "prompt_encoder.mask_downscaling.0."),
        (r"^prompt_encoder\.mask_embed\.layer_norm1\.", "prompt_encoder.mask_downscaling.1."),
        (r"^prompt_encoder\.mask_embed\.conv2\.", "prompt_encoder.mask_downscaling.3."),
        (r"^prompt_encoder\.mask_embed\.layer_norm2\.", "prompt_encoder.mask_downscaling.4."),
        (r"^prompt_encoder\.mask_embed\.conv3\.", "prompt_encoder.mask_downscaling.6."),
        (r"^(mask_decoder\.transformer\..*)layer_norm_final_attn\.", r"\1norm_final_attn."),
        (r"^(mask_decoder\.transformer\..*)layer_norm(\d)\.", r"\1norm\2."),
        (r"^mask_decoder\.upscale_conv1\.", "mask_decoder.output_upscaling.0."),
        (r"^mask_decoder\.upscale_layer_norm\.", "mask_decoder.output_upscaling.1."),
        (r"^mask_decoder\.upscale_conv2\.", "mask_decoder.output_upscaling.3."),
    )
)
# The same array as ``shared_image_embedding``: some files hold it twice, some once.
_DUPLICATE = "prompt_encoder.shared_embedding.positional_embedding"
_MLP = re.compile(
    r"^(?P<mlp>mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head))"
    r"\.(?P<layer>proj_in|proj_out|layers\.(?P<index>\d+))\.(?P<name>weight|bias)$"
)


def is_hugging_face(keys: Iterable[str]) -> bool:
    """Tell whether a state dict's keys are those of ``transformers``' ``SamModel``."""
    return any(key.startswith(("vision_encoder.", "shared_image_embedding.")) for key in keys)


def to_official(state_dict: Mapping[str, Array]) -> dict[str, Array]:
    """Rename the keys of ``transformers``' ``SamModel`` to those of the official checkpoints.

    Parameters
    ----------
    state_dict
        Any mapping from keys to arrays; the arrays are not touched.

    Returns
    -------
    dict
        The same arrays under the official keys; the second copy of the random matrix is left
        out. An official state dict comes back as it was.
    """
    if not is_hugging_face(state_dict):
        return dict(state_dict)
    depths = _mlp_depths(state_dict)
    return {
        _official_key(key, depths): value for key, value in state_dict.items() if key != _DUPLICATE
    }


def _mlp_depths(keys: Iterable[str]) -> dict[str, int]:
    """Count the layers of each MLP: its last one has a name of its own, not a number."""
    depths: dict[str, int] = {}
    for key in keys:
        match = _MLP.match(key)
        if match and match["name"] == "weight":
            depths[match["mlp"]] = depths.get(match["mlp"], 0) + 1
    return depths


def _official_key(key: str, mlp_depths: Mapping[str, int]) -> str:
    match = _MLP.match(key)
    if match:
        layer = {"proj_in": 0, "proj_out": mlp_depths.get(match["mlp"], 1) - 1}.get(
            match["layer"], int(match["index"] or 0) + 1
        )
        return f"{match['mlp']}.layers.{layer}.{match['name']}"
    for pattern, replacement in _RENAMES:
        key = pattern.sub(replacement, key)
    return key
