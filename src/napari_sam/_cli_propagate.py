"""``napari-sam propagate``: objects of a few labelled planes through a whole stack or film.

Knows the options, the files and the order; the job is in ``volume/propagation``.
"""

import csv
import json
import shutil
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_sam._cli_groups import grouped
from napari_sam._cli_models import Engine
from napari_sam._cli_options import Force, Verbose, numbers, switch
from napari_sam._cli_volume import Cut, Store, Work, embeddings_folder, say, watch, work_folder
from napari_sam.errors import StoreMismatchError

if TYPE_CHECKING:
    from napari_sam._result_files import Write
    from napari_sam.volume.image import ImageRef
    from napari_sam.volume.propagation.params import PropagateParams
    from napari_sam.volume.propagation.volume import PropagatedVolume

_CARRY, _ENDS = "From plane to plane", "Where objects end"
_SUFFIXES = (".tif", ".tiff", ".npy", ".zarr")


class Mode(StrEnum):
    """As in :data:`napari_sam.volume.propagation.params.MODES`."""

    BOX = "box"
    POINTS = "points"
    BOX_POINTS = "box_points"
    MASK_POINTS = "mask_points"
    MASK_BOX = "mask_box"
    MASK_BOX_POINTS = "mask_box_points"


class Along(StrEnum):
    """As in :data:`napari_sam.volume.propagation.params.Axis`."""

    Z = "z"
    T = "t"
    Y = "y"
    X = "x"


def _real(flag: str, help: str, panel: str, least: float = 0.0, most: float | None = None) -> Any:
    return typer.Option(flag, metavar="X", min=least, max=most, help=help, rich_help_panel=panel)


Labels = Annotated[
    str,
    typer.Option(
        "--labels", metavar="FILE",
        help="Seeds: labels of the image's size, 0 but on the key planes. Ids are kept.",
    ),
]  # fmt: skip
Output = Annotated[
    Path,
    typer.Option(
        "--output", "-o", metavar="FILE",
        help="Labels as .tif or .npy; or a .zarr, which may be the OME-Zarr image: labels/NAME.",
    ),
]  # fmt: skip
Name = Annotated[str, typer.Option("--name", metavar="NAME", help="Of the labels in a .zarr.")]
Table = Annotated[
    Path | None,
    typer.Option("--scores", metavar="FILE", help="Also a CSV of each object's score by plane."),
]
Direction = Annotated[Along, typer.Option("--along", help="The axis to go along.")]
Kept = Annotated[
    bool, typer.Option("--embeddings", metavar="", help="Use what `embed` keeps, and add to it.")
]
How = Annotated[
    Mode | None,
    typer.Option("--mode", help="Prompts of the next plane.", rich_help_panel=_CARRY),
]
Motion = Annotated[
    bool | None, typer.Option("--motion/--no-motion", help="Motion and growth go on.",
                              rich_help_panel=_CARRY),
]  # fmt: skip
Spacing = Annotated[
    str | None,
    typer.Option(
        "--spacing", metavar="P,Y,X", rich_help_panel=_CARRY,
        help="Distance of planes, rows, columns; default: the image's.",
    ),
]  # fmt: skip
Alone = Annotated[bool, switch("--no-compete", "Objects do not compete for pixels.", _CARRY)]
Gaps = Annotated[
    bool, switch("--no-interpolate", "Leave planes empty where an object was lost.", _CARRY)
]
Three = Annotated[
    bool,
    typer.Option(
        "--consensus",
        help="Along z, then y and x; two of three decide. Voxels have to be about cubes.",
    ),
]
Stiffness = Annotated[
    float | None,
    _real("--stiffness", "How firmly outlines stay as they are from plane to plane.", _CARRY, 0),
]
GreyWeight = Annotated[
    float | None,
    _real("--grey-weight", "How much grey levels count where an object stands out.", _CARRY, 0),
]
First = Annotated[
    int | None,
    typer.Option("--first", metavar="N", min=0, help="First plane.", rich_help_panel=_ENDS),
]
Last = Annotated[
    int | None,
    typer.Option("--last", metavar="N", min=0, help="Last plane.", rich_help_panel=_ENDS),
]
LeastScore = Annotated[
    float | None, _real("--least-score", "Predicted IoU below which it ends.", _ENDS, 0, 1)
]
MostChange = Annotated[
    float | None, _real("--most-area-change", "Factor between planes.", _ENDS, 1)
]
LeastOverlap = Annotated[
    float | None, _real("--least-overlap", "IoU with the plane before.", _ENDS, 0, 1)
]
LeastContrast = Annotated[
    float | None,
    _real("--least-contrast", "Share of its best contrast on a key plane.", _ENDS, 0, 1),
]


@dataclass(frozen=True)
class Carrying:
    """Settings of :class:`PropagateParams`; None is the default."""

    mode: How = None
    motion: Motion = None
    spacing: Spacing = None
    stiffness: Stiffness = None
    grey_weight: GreyWeight = None
    no_compete: Alone = False
    no_interpolate: Gaps = False
    first: First = None
    last: Last = None
    least_score: LeastScore = None
    most_area_change: MostChange = None
    least_overlap: LeastOverlap = None
    least_contrast: LeastContrast = None

    def params(self) -> "PropagateParams":
        """The defaults with what was given."""
        from napari_sam.volume.propagation.params import PropagateParams

        given = asdict(self)
        given["first_plane"], given["last_plane"] = given.pop("first"), given.pop("last")
        given["compete"] = not given.pop("no_compete")
        given["interpolate"] = not given.pop("no_interpolate")
        if self.mode is not None:
            given["mode"] = self.mode.value
        if self.spacing is not None:
            given["spacing"] = numbers(self.spacing, float, names="plane,row,column")
        return PropagateParams().changed(**{k: v for k, v in given.items() if v is not None})


@grouped
def propagate(
    store: Store,
    labels: Labels,
    output: Output,
    *,
    name: Name = "propagated",
    scores: Table = None,
    along: Direction = Along.Z,
    consensus: Three = False,
    carrying: Carrying,
    engine: Engine,
    cut: Cut,
    embeddings: Kept = False,
    work: Work = None,
    force: Force = False,
    verbose: Verbose = False,
) -> None:
    """Carry objects from a few labelled planes through a whole stack, in both directions.

        napari-sam propagate stack.tif --labels seeds.tif -o labels.tif

    The seeds are labels of the image's size, empty but for the key planes; one is enough. Each
    object goes as far as the model finds it. Stopped or killed, the same command goes on where it
    was. Add a plane to the seeds, and only what changes is asked again.

    Through time, and along another axis:

        napari-sam propagate film.tif --axes tyx --along t --labels first.tif -o tracks.tif
    """
    from napari_sam.volume.image import ImageRef
    from napari_sam.volume.propagation.consensus import consensus_volume
    from napari_sam.volume.propagation.volume import propagate_volume

    if consensus and (along is not Along.Z or embeddings):
        other = "--embeddings" if embeddings else f"--along {along.value}"
        raise typer.BadParameter(f"--consensus goes along all three axes: leave {other} out.")
    params = carrying.params()
    _check(store, output, scores, labels, force)
    image = cut.image(store)
    seeds = ImageRef.open(labels, axes=image.axes.replace("c", ""))
    job = cut.job(image, engine)
    folder = work_folder(store, work) / "propagated"
    kept = embeddings_folder(store, work, engine.model) if embeddings else None
    found = watch(
        consensus_volume(job, seeds, folder, params)
        if consensus
        else propagate_volume(job, seeds, folder, params, along=along.value, embeddings=kept)
    )
    _write(found, image, output, name, scores, {
        "command": "propagate", "seeds": Path(labels).name, "along": along.value,
        **({"consensus": True} if consensus else {}), "params": asdict(params),
        "model": job.model.identity(),
    }, force)  # fmt: skip
    found.remove()
    _tell(found, output, name)


def _check(store: str, output: Path, scores: Path | None, labels: str, force: bool) -> None:
    """Refuse places for results before any work is done."""
    from napari_sam._result_files import check_output

    suffix = output.suffix.lower()
    if suffix not in _SUFFIXES:
        raise typer.BadParameter(f"--output {output.name}: labels go to {', '.join(_SUFFIXES)}.")
    if suffix != ".zarr":
        check_output(output, force=force, source=Path(store))
        if output.exists() and Path(labels).exists() and output.samefile(labels):
            raise FileExistsError(f"{output} has the seeds; choose another name for the result.")
    if scores is not None:
        check_output(scores, force=force, source=Path(store))


def _write(
    found: "PropagatedVolume", image: "ImageRef", output: Path, name: str, scores: Path | None,
    made_from: dict[str, Any], force: bool,
) -> None:  # fmt: skip
    from napari_sam._result_files import write_together

    files: list[tuple[Path, Write]] = []
    if output.suffix.lower() == ".zarr":
        _write_zarr(found, image, output, name, made_from, force)
    else:
        files.append((output, _writer(found, image, output, made_from)))
    if scores is not None:
        files.append((scores, lambda part: _write_csv(found, part)))
    write_together(files)


def _writer(
    found: "PropagatedVolume", image: "ImageRef", output: Path, made_from: dict[str, Any]
) -> "Write":
    """What makes a TIFF or an array file of the labels, plane by plane."""
    import numpy as np
    import tifffile

    from napari_sam._result_files import PROVENANCE_KEY

    letters = "".join(axis for axis in "tzyx" if axis in image.axes)
    labels = found.labels.reshape([image.shape[image.axes.index(a)] for a in letters])

    def tiff(part: Path) -> None:
        pages = (plane for volume in found.labels for plane in volume)
        tifffile.imwrite(
            part, pages, shape=labels.shape, dtype=labels.dtype, compression="zlib",
            photometric="minisblack", bigtiff=labels.nbytes > 2**31,
            metadata={"axes": letters.upper(), PROVENANCE_KEY: json.loads(json.dumps(made_from))},
        )  # fmt: skip

    return (lambda part: np.save(part, labels)) if output.suffix.lower() == ".npy" else tiff


def _write_zarr(
    found: "PropagatedVolume", image: "ImageRef", root: Path, name: str,
    made_from: dict[str, Any], force: bool,
) -> None:  # fmt: skip
    """Write labels/NAME; earlier ones of that name only with ``--force``."""
    from napari_sam.volume.ome import LabelImage
    from napari_sam.volume.sample import fingerprint

    source = {**made_from, "image": fingerprint(image)}
    try:
        begun = LabelImage.begun(root, name, source)
    except StoreMismatchError:
        if not force:
            raise
        begun = None
        shutil.rmtree(root / "labels" / name)
    if begun is not None and begun.complete and not force:
        return
    dtype = "uint64" if found.labels.dtype.itemsize == 8 else "uint32"
    written = LabelImage.create(root, name, image, dtype=dtype, tile=image.size, made_from=source)
    whole = (slice(0, image.size[0]), slice(0, image.size[1]))
    for t, z in image.planes:
        written.write((t, z), whole, found.labels[t, z].astype(dtype))
    written.finish(len(found.ids))
    written.note_highest(max(found.ids, default=0))


def _write_csv(found: "PropagatedVolume", part: Path) -> None:
    with part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("at", "plane", "id", "score", "origin", "area"))
        for row in found.rows:
            writer.writerow((row.at, row.plane, row.id, f"{row.score:.4f}", row.origin, row.area))


def _tell(found: "PropagatedVolume", output: Path, name: str) -> None:
    where = output / "labels" / name if output.suffix.lower() == ".zarr" else output
    planes = len({(row.at, row.plane) for row in found.rows})
    say(f"{_number(len(found.ids), 'object')} on {_number(planes, 'plane')} in {where}")
    events = [event for part in found.parts.values() for event in part.events]
    for kind in ("split", "merge"):
        some = [event for event in events if event.kind == kind]
        if some:
            first = some[0]
            ids = " and ".join(str(one) for one in first.ids)
            say(f"{_number(len(some), kind)}, the first on plane {first.plane}: object {ids}")
    filled = sum(row.origin == "interpolated" for row in found.rows)
    if filled:
        say(f"{_number(filled, 'mask')} interpolated between key planes: the model lost the object")


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
