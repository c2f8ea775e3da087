"""The registry: complete, consistent, torch-free."""

import hashlib
import re
import subprocess
import sys
from urllib.parse import urlparse

import pytest

from napari_sam.core.architecture import MicroConfig
from napari_sam.core.registry import DEFAULT_MODEL, MODELS, ModelSpec, get_spec
from napari_sam.core.weights import weights_path
from napari_sam.errors import UnknownModelError

HEX_DIGITS = {"sha256": 64, "xxh128": 32, "md5": 32}
every_model = pytest.mark.parametrize("spec", MODELS.values(), ids=MODELS)


def test_names_that_scripts_rely_on() -> None:
    assert list(MODELS) == [
        "tiny",
        "vit_b",
        "vit_l",
        "vit_h",
        "mobile_sam",
        "medsam_vit_b",
        "vit_t_lm",
        "vit_b_lm",
        "vit_l_lm",
        "vit_t_em_organelles",
        "vit_b_em_organelles",
        "vit_l_em_organelles",
    ]


@every_model
def test_entry_says_what_a_person_and_a_download_need(spec: ModelSpec) -> None:
    assert get_spec(spec.name) is spec
    assert spec.title and spec.description and spec.licence
    if spec.url is not None:
        assert urlparse(spec.url).scheme == "https"
        assert spec.source and spec.paper and spec.hash


@every_model
def test_hash_is_well_formed(spec: ModelSpec) -> None:
    if spec.hash is not None:
        algorithm, _, digest = spec.hash.partition(":")
        assert re.fullmatch(f"[0-9a-f]{{{HEX_DIGITS[algorithm]}}}", digest)


@every_model
def test_geometry_fits_the_architecture(spec: ModelSpec) -> None:
    if isinstance(spec.architecture, MicroConfig):
        assert spec.canvas_multiple == 16
    else:
        assert spec.architecture.image_size == spec.image_size == spec.canvas_multiple
        assert spec.architecture.stride == 4 * spec.mask_stride


def test_files_do_not_overwrite_each_other_in_the_cache() -> None:
    assert len({spec.file_name for spec in MODELS.values()}) == len(MODELS)


def test_default_needs_no_download() -> None:
    assert get_spec(DEFAULT_MODEL).bundled
    assert [spec.name for spec in MODELS.values() if spec.bundled] == [DEFAULT_MODEL]


def test_bundled_file_is_the_registered_one() -> None:
    spec = get_spec(DEFAULT_MODEL)
    path = weights_path(spec)
    if not path.is_file():
        pytest.skip("the bundled weights are not trained yet")
    content = path.read_bytes()
    assert spec.size_bytes == len(content)
    assert spec.hash == f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.mark.parametrize(
    ("name", "meant"), [("vitb", "vit_b"), ("mobilesam", "mobile_sam"), ("vit_b_ml", "vit_b_lm")]
)
def test_unknown_name_is_told_a_similar_one_and_all(name: str, meant: str) -> None:
    with pytest.raises(UnknownModelError, match=f"Did you mean '{meant}'") as caught:
        get_spec(name)
    assert all(known in str(caught.value) for known in MODELS)


def test_unknown_name_like_no_other_gets_no_suggestion() -> None:
    with pytest.raises(UnknownModelError) as caught:
        get_spec("unet")
    assert "mean" not in str(caught.value)


@pytest.mark.parametrize("module", ["napari_sam.core.registry", "napari_sam.core.weights"])
def test_import_leaves_torch_alone(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
