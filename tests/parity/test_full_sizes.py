"""The published sizes beside the official packages: ``pytest -m parity tests/parity``.

Skipped where a package is absent. Everything at once takes many minutes; ``-k vit_b`` one model.
Fewer images for the large ones: a ViT-H of each kind takes a minute an image on two cores.
"""

import pytest

from tests.parity.compare import PAIRS, compare
from tests.parity.images import make_images
from tests.parity.peers import available

N_IMAGES = {"vit_b": 9, "mobile_sam": 9, "transformers": 9, "vit_l": 1, "vit_h": 1}


@pytest.mark.parity
@pytest.mark.parametrize("name", N_IMAGES)
def test_same_numbers_as_the_official_package(name: str) -> None:
    package = PAIRS[name].package
    if not available(package):
        pytest.skip(f"{package} is not installed")
    differences = compare(PAIRS[name], make_images()[: N_IMAGES[name]])
    assert differences
    over = [difference for difference in differences if not difference.passed]
    assert not over
