import numpy as np
import pytest

from napari_sam.training.synthetic import drop_specks, make_scene


@pytest.mark.parametrize("seed", range(12))
def test_scenes_have_objects_of_some_size(seed: int):
    scene = make_scene(np.random.default_rng(seed), 128)
    assert scene.image.shape == (128, 128, 3)
    assert scene.image.dtype == np.uint8
    assert scene.image.std() > 1
    for labels in scene.labels:
        sizes = np.bincount(labels.ravel())[1:]
        assert sizes[sizes > 0].min() >= 24


def test_a_scene_is_a_function_of_its_generator():
    first, again = (make_scene(np.random.default_rng(3), 96) for _ in range(2))
    assert (first.image == again.image).all()
    assert all((a == b).all() for a, b in zip(first.labels, again.labels, strict=True))


def test_specks_become_background():
    labels = np.zeros((20, 20), np.int32)
    labels[0, :5], labels[5:12, 5:12] = 1, 2
    assert np.unique(drop_specks(labels)).tolist() == [0, 2]
