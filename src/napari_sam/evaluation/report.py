"""A pack and a model in, a report out.

Knows the order of things: which items, which model, who answers, what is written. Importing it
loads no torch: that happens when an evaluation begins.
"""

import hashlib
import json
import platform
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari_sam
from napari_sam.evaluation.groups import group_of
from napari_sam.evaluation.params import EvaluationParams, Protocol
from napari_sam.progress import Progress

if TYPE_CHECKING:
    from napari_sam.core.automatic import EncodesAndDecodes
    from napari_sam.core.predictor import Predictor
    from napari_sam.evaluation.datasets import Sample
    from napari_sam.evaluation.everything import EverythingSummary, ImageMatches
    from napari_sam.evaluation.interactive import ObjectResult
    from napari_sam.evaluation.summary import Check, GroupSummary

FORMAT, FORMAT_VERSION = "napari-sam evaluation", 1


@dataclass(frozen=True)
class Report:
    """What an evaluation found.

    Attributes
    ----------
    groups, checks
        Rows, and bars with what was found.
    results
        Every object.
    automatic
        Rows of the automatic protocol.
    params, provenance
        How, by what and when.
    """

    groups: tuple["GroupSummary", ...]
    checks: tuple["Check", ...]
    results: tuple["ObjectResult", ...]
    params: EvaluationParams
    provenance: Mapping[str, object]
    automatic: tuple["EverythingSummary", ...] = ()

    def to_markdown(self) -> str:
        """Tables and bars for people."""
        from napari_sam.evaluation.tables import render_report

        return render_report(
            self.groups, self.checks, self.provenance, self.params, automatic=self.automatic
        )

    def to_json(self) -> str:
        """Everything, for machines."""
        content: dict[str, Any] = {"format": FORMAT, "format_version": FORMAT_VERSION}
        return json.dumps(content | asdict(self), indent=1, ensure_ascii=False)


def evaluate_pack(
    model: "EncodesAndDecodes",
    pack: Path,
    params: EvaluationParams | None = None,
    *,
    datasets: tuple[str, ...] = (),
    provenance: Mapping[str, object] | None = None,
) -> Generator[Progress, None, Report]:
    """Run the protocols, and baselines, on the labelled 2D images of a pack: a job.

    Parameters
    ----------
    model
        A predictor.
    pack
        Folder with ``manifest.json``.
    params
        How; None for the defaults.
    datasets
        Only items whose id or dataset begins with one of these.
    provenance
        What is known of the model; the pack's name and version are added.

    Raises
    ------
    ImageError
        If the pack cannot be read, or nothing in it fits.
    """
    from napari_sam.errors import ImageError
    from napari_sam.evaluation.datasets import PLANES, read_item, read_manifest, select_items
    from napari_sam.evaluation.everything import (
        evaluate_everything,
        fully_annotated,
        summarise_everything,
    )
    from napari_sam.evaluation.interactive import evaluate_sample
    from napari_sam.evaluation.summary import check_bars, summarise

    params = params or EvaluationParams()
    items = _thin_out(select_items(pack, datasets=datasets, axes=PLANES), params.images_per_group)
    if not items:
        raise ImageError(f"{pack} has no labelled 2D image among {datasets or 'its items'}.")
    results: list[ObjectResult] = []
    matches: list[ImageMatches] = []
    interactive, automatic = (protocol in params.protocols for protocol in Protocol)
    for done, (item, quota) in enumerate(_with_quota(items, params.walker_objects)):
        yield Progress(done, len(items), str(item["id"]))
        for sample in read_item(pack, item):
            if interactive:
                found = evaluate_sample(model, sample, params, group=group_of(item))
                results += add_baselines(found, sample, walkers=quota)
            if automatic and fully_annotated(item):
                matches.append(evaluate_everything(model, sample, group=group_of(item)))
    yield Progress(len(items), len(items))
    groups = summarise(results, {item["id"]: item["gt_origin"] for item in items})
    manifest = read_manifest(pack)
    about = {"pack": manifest.get("pack", pack.name), "pack version": manifest.get("version")}
    return Report(
        groups=tuple(groups),
        checks=tuple(check_bars(groups)),
        results=tuple(results),
        params=params,
        provenance={**(provenance or {}), **about},
        automatic=tuple(summarise_everything(matches)),
    )


def add_baselines(
    results: list["ObjectResult"], sample: "Sample", *, walkers: int
) -> list["ObjectResult"]:
    """Add to each object the IoU of every classical method on the same prompts.

    The slow ones answer for the first ``walkers`` objects in the order of a fixed draw.
    """
    import numpy as np

    from napari_sam.evaluation.baselines import (
        BOX_BASELINES,
        CLICK_BASELINES,
        SLOW_BASELINES,
        ClassicalImage,
    )
    from napari_sam.evaluation.clicks import deepest_point, tight_box
    from napari_sam.evaluation.metrics import iou

    image = ClassicalImage(sample.picture)
    order = np.random.default_rng(len(results)).permutation(len(results))
    answered = []
    for result, place in zip(results, order, strict=True):
        truth = sample.labels == result.label
        (y, x), box = deepest_point(truth), tight_box(truth)
        allowed = SLOW_BASELINES if place >= walkers else frozenset()
        scores = {
            name: iou(method(image, y, x), truth)
            for name, method in CLICK_BASELINES.items()
            if name not in allowed
        } | {
            name: iou(method(image, box), truth)
            for name, method in BOX_BASELINES.items()
            if name not in allowed
        }
        answered.append(replace(result, baselines=scores))
    return answered


def describe_model(predictor: "Predictor", weights: Path | None) -> dict[str, object]:
    """Provenance of a model: name, hash of its file, versions, device, date."""
    from napari_sam.core.weights import weights_path

    path = weights or weights_path(predictor.spec)
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
    return {
        "model": predictor.spec.name,
        "weights sha256": digest,
        "input long side": f"{predictor.spec.least_size} to {predictor.spec.image_size} pixels",
        "runtime": predictor.runtime.describe(),
        "napari-sam": napari_sam.__version__,
        "torch": version("torch"),
        "python": platform.python_version(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _with_quota(
    items: Sequence[Mapping[str, Any]], total: int
) -> Iterator[tuple[Mapping[str, Any], int]]:
    """Each item with its even share of ``total`` among the items of its group."""
    counts = Counter(group_of(item) for item in items)
    seen: Counter[str] = Counter()
    for item in items:
        group = group_of(item)
        seen[group] += 1
        upto = [total * k // counts[group] for k in (seen[group] - 1, seen[group])]
        yield item, upto[1] - upto[0]


def _thin_out(items: Sequence[Mapping[str, Any]], most: int | None) -> list[Mapping[str, Any]]:
    """At most ``most`` items of each group, evenly spread over its list."""
    return [item for item, quota in _with_quota(items, most or len(items)) if quota]
