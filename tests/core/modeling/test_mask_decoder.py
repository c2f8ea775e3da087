"""Mask decoder and two-way transformer: which mask is which, shared images, whole blocks."""

import torch

from napari_sam.core.modeling.mask_decoder import MLP, MaskDecoder
from napari_sam.core.modeling.transformer import Attention, TwoWayTransformer
from tests.golden.seeded import seeded_state

DIM = 16


def make_decoder() -> MaskDecoder:
    decoder = MaskDecoder(
        DIM,
        TwoWayTransformer(DIM, depth=2, num_heads=2, mlp_dim=24),
        num_multimask_outputs=3,
        iou_head_depth=3,
        iou_head_hidden_dim=8,
    )
    decoder.load_state_dict(seeded_state({k: v.shape for k, v in decoder.state_dict().items()}, 3))
    return decoder.eval().requires_grad_(False)


def test_a_lone_mask_is_the_first_token_and_candidates_are_the_others() -> None:
    decoder = make_decoder()
    random = torch.Generator().manual_seed(0)
    image_pe = torch.randn(1, DIM, 3, 5, generator=random)
    parts = {
        "positions": lambda grid: image_pe,
        "sparse": torch.randn(2, 4, DIM, generator=random),
        "dense": torch.randn(1, DIM, 1, 1, generator=random),
    }
    features = torch.randn(1, DIM, 3, 5, generator=random)
    several, scores = decoder(features, **parts, multimask=True)
    lone, lone_score = decoder(features, **parts, multimask=False)
    assert several.shape == (2, 3, 12, 20)
    assert lone.shape == (2, 1, 12, 20)
    assert scores.shape == (2, 3)
    assert lone_score.shape == (2, 1)
    # Swap two mask tokens and their kernels: the candidates swap, nothing else changes.
    order = torch.tensor([1, 0, 2, 3])
    decoder.mask_tokens.weight.data = decoder.mask_tokens.weight.data[order]
    mlps = list(decoder.output_hypernetworks_mlps)
    decoder.output_hypernetworks_mlps = torch.nn.ModuleList(mlps[i] for i in order)
    swapped, _ = decoder(features, **parts, multimask=True)
    torch.testing.assert_close(swapped[:, 0], lone[:, 0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(swapped[:, 1:], several[:, 1:], rtol=1e-4, atol=1e-5)


def test_a_dense_embedding_broadcasts() -> None:
    decoder = make_decoder()
    features, image_pe = torch.randn(1, DIM, 3, 5), torch.randn(1, DIM, 3, 5)
    sparse, dense = torch.randn(2, 4, DIM), torch.randn(1, DIM, 1, 1)
    short = decoder(
        features, positions=lambda grid: image_pe, sparse=sparse, dense=dense, multimask=True
    )
    full = decoder(
        features,
        positions=lambda grid: image_pe,
        sparse=sparse,
        dense=dense.expand(2, -1, 3, 5),
        multimask=True,
    )
    torch.testing.assert_close(short[0], full[0])


def test_attention_is_the_formula() -> None:
    attention = Attention(DIM, 2, inner_dim=8).eval()
    q, k, v = torch.randn(1, 3, DIM), torch.randn(1, 5, DIM), torch.randn(1, 5, DIM)
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        logits = attention.q_proj(q)[..., head] @ attention.k_proj(k)[..., head].mT / 2
        heads.append(logits.softmax(-1) @ attention.v_proj(v)[..., head])
    expected = attention.out_proj(torch.cat(heads, dim=-1))
    torch.testing.assert_close(attention(q, k, v), expected)


def test_mlp_has_no_activation_at_its_end() -> None:
    mlp = MLP(2, 3, 1, depth=1)
    x = torch.randn(4, 2)
    torch.testing.assert_close(mlp(x), mlp.layers[0](x))
    assert len(MLP(2, 3, 1, depth=3).layers) == 3
