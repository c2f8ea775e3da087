"""Make the golden files from the official packages: ``python -m tests.golden.make_golden``.

Needs the packages of the extra ``parity``. Weights and pictures are not stored: they are remade
from their seed. ``tests/core/test_parity_golden.py`` reads what is written here.
"""

import json
from contextlib import nullcontext

import torch
from safetensors.torch import save_file
from torch import Tensor

from napari_sam.core.architecture import SamConfig
from napari_sam.core.registry import get_spec
from tests.golden.cases import FOLDER, PICTURE_SIZE, SEED, TINY_VIT, VIT, keys_digest, prompt_cases
from tests.golden.seeded import seeded_picture, seeded_tensor
from tests.parity.peers import OfficialPeer, TransformersPeer, build_peer, versions
from tests.parity.shims import stand_ins


@torch.no_grad()
def main() -> None:
    """Write the files."""
    torch.set_num_threads(1)
    for package, name, config in (
        ("segment_anything", "sam_vit", VIT),
        ("mobile_sam", "sam_tiny_vit", TINY_VIT),
        ("transformers", "transformers_sam", VIT),
    ):
        tensors, metadata = _answers(package, config)
        if package == "segment_anything":
            tensors |= _relative_positions()
        metadata["versions"] = json.dumps({**versions(), "torch": torch.__version__})
        contiguous = {key: value.contiguous() for key, value in tensors.items()}
        save_file(contiguous, FOLDER / f"{name}.safetensors", metadata)
    digests = {model: _digest_of_keys(model) for model in ("vit_b", "vit_l", "vit_h", "mobile_sam")}
    (FOLDER / "official_keys.json").write_text(json.dumps(digests, indent=2) + "\n")


def _digest_of_keys(model: str) -> dict[str, object]:
    """Number and hash of the state dict's keys and shapes at a published size."""
    config = get_spec(model).architecture
    assert isinstance(config, SamConfig)
    package = "mobile_sam" if model == "mobile_sam" else "segment_anything"
    # TinyViT asks for numbers while it is built, which the meta device does not have.
    with nullcontext() if package == "mobile_sam" else torch.device("meta"):
        state = OfficialPeer(package, config).state
    unused = get_spec(model).ignored_keys
    return keys_digest({key: value for key, value in state.items() if key not in unused})


def _answers(package: str, config: SamConfig) -> tuple[dict[str, Tensor], dict[str, str]]:
    peer = build_peer(package, config, seed=SEED)
    features = peer.encode(seeded_picture("golden", *PICTURE_SIZE))
    tensors = {"features": features}
    mask_side = 4 * config.image_size // config.stride
    for case in prompt_cases(config.image_size, mask_side, valid=PICTURE_SIZE):
        if package == "transformers" and case.points is None and case.boxes is None:
            continue  # SamModel cannot be called without points or boxes
        for multimask in (True, False):
            logits, scores = peer.decode(features, case, multimask=multimask)
            tensors[f"{case.name}/{multimask}/logits"] = logits
            tensors[f"{case.name}/{multimask}/scores"] = scores
    keys = peer.module.state_dict() if isinstance(peer, TransformersPeer) else peer.state
    return tensors, {"keys": json.dumps({key: list(value.shape) for key, value in keys.items()})}


def _relative_positions() -> dict[str, Tensor]:
    """Tables of 2 * 5 - 1 distances, looked up for other sizes."""
    with stand_ins():
        from segment_anything.modeling.image_encoder import get_rel_pos
    table = seeded_tensor("golden.rel_pos_h", (9, 6), SEED)
    return {f"relative/{size}": get_rel_pos(size, size, table) for size in (3, 5, 7, 12)}


if __name__ == "__main__":
    main()
