"""Laws of the prompt encoder."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from napari_sam.core.modeling.prompt_encoder import PositionEmbeddingRandom, PromptEncoder
from tests.golden.seeded import seeded_state

GRID, STRIDE, DIM = (4, 6), 8, 16


def make_encoder() -> PromptEncoder:
    encoder = PromptEncoder(DIM, mask_in_chans=8, stride=STRIDE).eval().requires_grad_(False)
    encoder.load_state_dict(seeded_state({k: v.shape for k, v in encoder.state_dict().items()}, 3))
    return encoder


ENCODER = make_encoder()


def encode(
    points: Tensor | None = None,
    labels: Tensor | None = None,
    boxes: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    sparse, dense = ENCODER(grid=GRID, points=points, labels=labels, boxes=boxes, mask=mask)
    return sparse, dense


def random_points(n_objects: int, n_points: int, seed: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    points = 32 * torch.rand(n_objects, n_points, 2, generator=random)
    return points, torch.randint(-1, 2, (n_objects, n_points), generator=random)


@settings(deadline=None)  # a busy machine is no failure
@given(n_objects=st.integers(1, 5), n_points=st.integers(1, 4), seed=st.integers(0, 99))
def test_permuting_objects_permutes_tokens(n_objects: int, n_points: int, seed: int) -> None:
    points, labels = random_points(n_objects, n_points, seed)
    order = torch.randperm(n_objects, generator=torch.Generator().manual_seed(seed))
    sparse, _ = encode(points, labels)
    permuted, _ = encode(points[order], labels[order])
    torch.testing.assert_close(permuted, sparse[order], rtol=0, atol=1e-6)


def test_padding_point_only_without_boxes() -> None:
    points, labels = random_points(2, 3, 0)
    boxes = torch.tensor([[1.0, 2, 9, 8], [3, 3, 20, 30]])
    assert encode(points, labels)[0].shape == (2, 4, DIM)
    assert encode(points, labels, boxes)[0].shape == (2, 5, DIM)
    assert encode(boxes=boxes)[0].shape == (2, 2, DIM)
    padding = ENCODER.not_a_point_embed.weight.expand(2, -1)
    assert torch.equal(encode(points, labels)[0][:, 3], padding)


def test_a_padded_point_says_nothing_of_its_place() -> None:
    here, _ = encode(torch.tensor([[[3.0, 4.0]]]), torch.tensor([[-1]]))
    there, _ = encode(torch.tensor([[[math.nan, 1e9]]]), torch.tensor([[-1]]))
    assert torch.equal(here, there)


def test_a_box_is_its_two_corners() -> None:
    corners = torch.tensor([[[1.0, 2], [9, 8]]])
    boxes, _ = encode(boxes=corners.view(1, 4))
    points, _ = encode(corners, torch.tensor([[2, 3]]))
    assert torch.equal(boxes, points[:, :2])


def test_a_pixel_is_embedded_at_its_centre() -> None:
    """Half a pixel is added here: nobody else may do it."""
    sparse, _ = encode(torch.tensor([[[11.0, 19.0]]]), torch.tensor([[1]]))
    xy = torch.tensor([11.5 / (GRID[1] * STRIDE), 19.5 / (GRID[0] * STRIDE)])
    phase = 2 * math.pi * (2 * xy - 1) @ ENCODER.pe_layer.positional_encoding_gaussian_matrix
    place = torch.cat([phase.sin(), phase.cos()])
    torch.testing.assert_close(
        sparse[0, 0], place + ENCODER.get_parameter("point_embeddings.1.weight")[0]
    )


def test_grid_and_points_agree() -> None:
    """The centre of a cell is embedded as the image's position there."""
    positions = ENCODER.image_positions(GRID)
    y, x = 2, 5
    corner = torch.tensor([[[x * STRIDE + STRIDE / 2 - 0.5, y * STRIDE + STRIDE / 2 - 0.5]]])
    sparse, _ = encode(corner, torch.tensor([[0]]))
    place = sparse[0, 0] - ENCODER.get_parameter("point_embeddings.0.weight")[0]
    torch.testing.assert_close(place, positions[0, :, y, x], rtol=1e-5, atol=1e-5)


def test_nothing_gives_no_tokens_and_the_no_mask_embedding() -> None:
    sparse, dense = encode()
    assert sparse.shape == (1, 0, DIM)
    assert torch.equal(dense.flatten(), ENCODER.no_mask_embed.weight.flatten())


def test_a_mask_alone() -> None:
    mask = torch.randn(3, 1, 4 * GRID[0], 4 * GRID[1])
    sparse, dense = encode(mask=mask)
    assert sparse.shape == (3, 0, DIM)
    assert dense.shape == (3, DIM, *GRID)


def test_positions_are_computed_in_float32() -> None:
    """In bfloat16, neighbouring pixels of a large canvas would be one place."""
    layer = PositionEmbeddingRandom(8).to(torch.bfloat16)
    assert layer(torch.rand(2, 2, dtype=torch.bfloat16)).dtype == torch.float32
    assert layer.grid((3, 3)).dtype == torch.float32
