"""Models with seeded weights, the same file for every contender; nothing is downloaded.

The weights are spread like trained ones (``tests/golden/seeded.py``): relative positions and
position tables are not zero, logits of attention have a standard deviation of about 1. What they
cannot have is the meaning: see ``scenes.py`` for what the automatic generator needs.
"""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.settings import SMALL
from napari_sam.core import registry
from napari_sam.core.architecture import SamConfig, TinyViTConfig
from tests.golden.cases import VIT
from tests.golden.seeded import seeded_tensor, standard_normal
from tests.parity.compare import SEED
from tests.parity.peers import OfficialPeer, fill_peer

PASSING_SHARE = 0.4
"""Share of a point grid's candidates whose predicted IoU is above the official threshold."""
_OFFICIAL_THRESHOLD = 0.88
_SCORE_BIAS = "mask_decoder.iou_prediction_head.layers.2.bias"


def register_small() -> None:
    """Make :data:`SMALL` known to ``load_predictor``: the registry has published models only."""
    side = VIT.image_size
    spec = replace(
        registry.get_spec("vit_b"),
        name=SMALL,
        architecture=VIT,
        image_size=side,
        least_size=side,
        canvas_multiple=side,
    )
    registry.MODELS = {**registry.MODELS, SMALL: spec}


def official_package(model: str) -> str | None:
    """Import name of the package with the official code; None: the model is ours alone."""
    config = registry.get_spec(model).architecture
    if not isinstance(config, SamConfig):
        return None
    return "mobile_sam" if isinstance(config.encoder, TinyViTConfig) else "segment_anything"


def sam_config(model: str) -> SamConfig:
    """Sizes of a SAM."""
    config = registry.get_spec(model).architecture
    assert isinstance(config, SamConfig), f"{model} is no SAM"
    return config


def weights_file(model: str, folder: Path) -> Path | None:
    """Seeded weights of a model in an official ``.pth``; written when first asked for.

    None: the model is ours alone and comes with trained weights, which are taken instead.
    """
    package = official_package(model)
    if package is None:
        return None
    path = folder / f"{model}-seed{SEED}.pth"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        peer = fill_peer(package, sam_config(model), _seeded)
        assert isinstance(peer, OfficialPeer)
        spread_scores(peer)
        part = path.with_suffix(".part")
        torch.save(peer.state, part)
        part.replace(path)
    return path


def _seeded(key: str, shape: tuple[int, ...]) -> Tensor:
    return seeded_tensor(key, shape, SEED)


@torch.inference_mode()
def spread_scores(peer: OfficialPeer) -> None:
    """Move the predicted IoUs so that :data:`PASSING_SHARE` of each candidate is good enough.

    Random scores lie around 0: all candidates of a grid would fall to the official threshold, and
    the automatic generator would have nothing to do after its decoder.
    """
    encoder = peer.module.prompt_encoder
    height, width = encoder.image_embedding_size
    channels = peer.module.mask_decoder.transformer_dim
    noise = standard_normal("features", (1, channels, height, width), SEED)
    marks = torch.linspace(0.05, 0.95, 6) * encoder.input_image_size[0]
    points = torch.cartesian_prod(marks, marks)[:, None]
    sparse, dense = encoder(points=(points, torch.ones(len(points), 1)), boxes=None, masks=None)
    scores = peer.module.mask_decoder.predict_masks(
        image_embeddings=torch.from_numpy(noise),
        image_pe=encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
    )[1]
    peer.state[_SCORE_BIAS] += _OFFICIAL_THRESHOLD - scores.quantile(1 - PASSING_SHARE, dim=0)
