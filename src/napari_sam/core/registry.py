"""Which models there are: name -> :class:`ModelSpec`. Knows all sizes, URLs, hashes and licences.

Knows neither torch nor the network: opening a menu of models costs nothing. The sizes 1024, 64, 256
and 16 of the published SAMs are written here and nowhere else.

The hashes are the publishers' own, in the algorithm that they chose: sha256 for SAM and MobileSAM,
xxh128 for micro-sam, md5 for MedSAM (as its Zenodo record shows it).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import inf
from types import MappingProxyType
from typing import Literal

from napari_sam.core.architecture import MicroConfig, SamConfig, TinyViTConfig, ViTConfig
from napari_sam.errors import UnknownModelError

__all__ = ["DEFAULT_MODEL", "MODELS", "ModelSpec", "get_spec"]

Family = Literal["napari-sam", "sam", "mobile_sam", "medsam", "micro-sam"]


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One model of the registry.

    Attributes
    ----------
    name
        Short name for scripts and the command line.
    title
        Name for people.
    family
        Who made it: decides nothing, groups the menu.
    architecture
        What ``core/modeling`` builds.
    description
        What the model is good for, in a sentence or two.
    licence, licence_note
        SPDX name of the weights' licence; what to look at before passing the file on.
    source, paper
        Web pages of the weights' publisher and of the paper.
    url
        Where the file is downloaded from; None: it is part of the package.
    file_name
        Name of the file in the cache or in the package; its path, for a model made on this machine.
    like
        For a model made on this machine, the published one whose architecture it has; else empty.
    size_bytes
        Size of the file; None where it is not published.
    hash
        ``"sha256:<hex>"``, ``"xxh128:<hex>"`` or ``"md5:<hex>"``; None where none is published,
        then the first download is recorded and later ones are compared with it.
    ignored_keys
        Parameters that the file has and the network has not. Nothing else may be left over.
    image_size
        Longest side in pixels of the picture that the model sees; larger images are reduced.
    least_size
        Smaller images are enlarged until their long side has so many pixels. For SAM the same as
        ``image_size``: it sees one size only.
    most_enlargement
        But no image is enlarged more than so many times: what is blurred is not known for what it
        is. SAM has no such bound.
    canvas_multiple
        The picture is padded at the bottom and right to multiples of this, in pixels.
    mask_stride
        Pixels of the model's input per low-res logit.
    drops_fragments
        Whether loose pieces that no prompt asked for are removed: see ``core/fragments.py``.
    looks_closer
        Whether small objects are asked for again in an enlarged crop: see ``core/closer_look.py``.
    automatic_defaults
        Settings of the automatic generator that differ from the official ones, by name.
    """

    name: str
    title: str
    family: Family
    architecture: SamConfig | MicroConfig
    description: str
    licence: str
    licence_note: str = ""
    source: str = ""
    paper: str = ""
    url: str | None
    file_name: str
    size_bytes: int | None = None
    hash: str | None = None
    ignored_keys: frozenset[str] = frozenset()
    image_size: int = 1024
    least_size: int = 1024
    most_enlargement: float = inf
    canvas_multiple: int = 1024
    mask_stride: int = 4
    drops_fragments: bool = False
    looks_closer: bool = False
    automatic_defaults: tuple[tuple[str, float], ...] = ()
    like: str = ""

    @property
    def bundled(self) -> bool:
        """Whether the weights are part of the package, so that no download is ever needed."""
        return self.url is None and not self.like


def get_spec(name: str) -> ModelSpec:
    """Look a model up: a published one, or one made on this machine (``registered.py``).

    Raises
    ------
    UnknownModelError
        No model has this name; the message lists those that exist and suggests a similar one.
    """
    if name in MODELS:
        return MODELS[name]
    from napari_sam.core.registered import all_models  # which stands on this module

    models = all_models()
    if name in models:
        return models[name]
    similar = get_close_matches(name, models, n=1)
    hint = f" Did you mean {similar[0]!r}?" if similar else ""
    raise UnknownModelError(f"There is no model {name!r}.{hint} Known: {', '.join(models)}.")


def _sam(encoder: ViTConfig | TinyViTConfig) -> SamConfig:
    """Prompt encoder and decoder are the same in all published SAMs (SAM, appendix A)."""
    return SamConfig(
        encoder=encoder,
        image_size=1024,
        out_chans=256,
        mask_in_chans=16,
        decoder_depth=2,
        decoder_num_heads=8,
        decoder_mlp_dim=2048,
        iou_head_depth=3,
        iou_head_hidden_dim=256,
    )


def _vit(embed_dim: int, depth: int, num_heads: int, global_blocks: tuple[int, ...]) -> SamConfig:
    return _sam(
        ViTConfig(
            patch_size=16,
            embed_dim=embed_dim,
            depth=depth,
            num_heads=num_heads,
            window_size=14,
            global_attn_indexes=global_blocks,
        )
    )


_VIT_B = _vit(768, 12, 12, (2, 5, 8, 11))
_VIT_L = _vit(1024, 24, 16, (5, 11, 17, 23))
_VIT_H = _vit(1280, 32, 16, (7, 15, 23, 31))
_VIT_T = _sam(
    TinyViTConfig(
        embed_dims=(64, 128, 160, 320),
        depths=(2, 2, 6, 2),
        num_heads=(2, 4, 5, 10),
        window_sizes=(7, 7, 14, 7),
        merge_strides=(2, 2, 1),
    )
)
# TinyViT was pre-trained as a classifier; MobileSAM's file still has that head, unused.
_VIT_T_HEAD = frozenset(
    f"image_encoder.{part}.{kind}" for part in ("norm_head", "head") for kind in ("weight", "bias")
)
_MICRO = MicroConfig(
    stage_dims=(24, 48, 96),
    stage_depths=(0, 1, 2),
    embed_dim=256,
    depth=6,
    num_heads=4,
    window_size=16,
    out_chans=128,
    skip_chans=32,
    mask_in_chans=32,
    decoder_depth=2,
    decoder_num_heads=4,
)


def _tiny() -> ModelSpec:
    return ModelSpec(
        name="tiny",
        title="napari-sam tiny (in the package)",
        family="napari-sam",
        architecture=_MICRO,
        description="Nuclei and cells with clear borders. Fast on a laptop, needs no download.",
        licence="BSD-3-Clause",
        licence_note="Trained from scratch with this repository's code; data in MODEL_CARD.md.",
        url=None,
        file_name="tiny.safetensors",
        size_bytes=13_313_566,
        hash="sha256:0a289904b5f94b0da0cbacf0b142db0a63e04184fc7afdb37f780fa67edf4fbd",
        least_size=640,
        most_enlargement=4.0,  # chosen on training images: dev/LOG.md
        drops_fragments=True,
        looks_closer=True,
        canvas_multiple=16,
        automatic_defaults=(  # best F1 on training images (dev/LOG.md): its logits are softer
            ("pred_iou_thresh", 0.6),
            ("stability_score_thresh", 0.3),
            ("box_nms_thresh", 0.3),
            ("crop_nms_thresh", 0.3),
        ),
    )


def _official(
    name: str, title: str, architecture: SamConfig, suffix: str, *, size: int, sha256: str, use: str
) -> ModelSpec:
    file_name = f"sam_{name}_{suffix}.pth"
    return ModelSpec(
        name=name,
        title=title,
        family="sam",
        architecture=architecture,
        description=use,
        licence="Apache-2.0",
        source="https://github.com/facebookresearch/segment-anything",
        paper="https://arxiv.org/abs/2304.02643",
        url=f"https://dl.fbaipublicfiles.com/segment_anything/{file_name}",
        file_name=file_name,
        size_bytes=size,
        hash=f"sha256:{sha256}",
    )


def _mobile_sam() -> ModelSpec:
    return ModelSpec(
        name="mobile_sam",
        title="MobileSAM (TinyViT)",
        family="mobile_sam",
        architecture=_VIT_T,
        description="Everyday photographs and general objects; the fastest of the published SAMs.",
        licence="Apache-2.0",
        source="https://github.com/ChaoningZhang/MobileSAM",
        paper="https://arxiv.org/abs/2306.14289",
        url="https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt",
        file_name="mobile_sam.pt",
        size_bytes=40728226,
        hash="sha256:6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
        ignored_keys=_VIT_T_HEAD,
    )


def _medsam() -> ModelSpec:
    return ModelSpec(
        name="medsam_vit_b",
        title="MedSAM (ViT-B)",
        family="medsam",
        architecture=_VIT_B,
        description="Radiology, endoscopy and other medical images. Trained with boxes only:"
        " prompt it with boxes.",
        licence="CC-BY-4.0",
        licence_note="The Zenodo record is said to be CC-BY-4.0, the repository is Apache-2.0:"
        " confirm before passing the file on.",
        source="https://zenodo.org/records/10689643",
        paper="https://doi.org/10.1038/s41467-024-44824-z",
        url="https://zenodo.org/records/10689643/files/medsam_vit_b.pth",
        file_name="medsam_vit_b.pth",
        size_bytes=375049145,
        hash="md5:3bb6db55bd0c9ca30b61248bca72f8d6",
    )


_MICRO_SAM_USES = {
    "lm": ("light microscopy", "Cells and nuclei in fluorescence, phase contrast and brightfield."),
    "em_organelles": ("EM organelles", "Mitochondria, nuclei and other organelles in EM."),
}


def _micro_sam(size: str, use: str, record: str, xxh128: str) -> ModelSpec:
    architecture = {"t": _VIT_T, "b": _VIT_B, "l": _VIT_L}[size]
    field, description = _MICRO_SAM_USES[use]
    return ModelSpec(
        name=f"vit_{size}_{use}",
        title=f"micro-sam {field} (ViT-{size.upper()})",
        family="micro-sam",
        architecture=architecture,
        description=description,
        licence="CC-BY-4.0",
        licence_note="As micro-sam's export writes it: confirm in the model's bioimage.io entry"
        " before passing the file on.",
        source="https://github.com/computational-cell-analytics/micro-sam",
        paper="https://doi.org/10.1038/s41592-024-02580-4",
        url="https://uk1s3.embassy.ebi.ac.uk/public-datasets/bioimage.io/"
        f"{record}/files/vit_{size}.pt",
        # The publisher calls all of them vit_b.pt or the like; in one cache they need own names.
        file_name=f"vit_{size}_{use}.pt",
        hash=f"xxh128:{xxh128}",
        ignored_keys=_VIT_T_HEAD if size == "t" else frozenset(),
    )


_ALL = (
    _tiny(),
    _official(
        "vit_b",
        "SAM ViT-B",
        _VIT_B,
        "01ec64",
        size=375042383,
        sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        use="General objects; the smallest of the original SAMs.",
    ),
    _official(
        "vit_l",
        "SAM ViT-L",
        _VIT_L,
        "0b3195",
        size=1249524607,
        sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        use="General objects; finer than ViT-B and about three times slower.",
    ),
    _official(
        "vit_h",
        "SAM ViT-H",
        _VIT_H,
        "4b8939",
        size=2564550879,
        sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        use="General objects; the largest SAM, for a GPU.",
    ),
    _mobile_sam(),
    _medsam(),
    _micro_sam("t", "lm", "faithful-chicken/1.1", "72ec5074774761a6e5c05a08942f981e"),
    _micro_sam("b", "lm", "diplomatic-bug/1.2", "fe9252a29f3f4ea53c15a06de471e186"),
    _micro_sam("l", "lm", "idealistic-rat/1.2", "017f20677997d628426dec80a8018f9d"),
    _micro_sam("t", "em_organelles", "greedy-whale/1", "253474720c497cce605e57c9b1d18fd9"),
    _micro_sam("b", "em_organelles", "noisy-ox/1.2", "f3bf2ed83d691456bae2c3f9a05fb438"),
    _micro_sam("l", "em_organelles", "humorous-crab/1.2", "810b084b6e51acdbf760a993d8619f2d"),
)
MODELS: Mapping[str, ModelSpec] = MappingProxyType({spec.name: spec for spec in _ALL})
DEFAULT_MODEL = "tiny"
