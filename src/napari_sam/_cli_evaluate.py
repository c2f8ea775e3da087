"""``napari-sam evaluate``: how well models segment labelled images.

Knows the options and the bar; what is measured and how is told in ``evaluation``.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from napari_sam._cli_follow import follow
from napari_sam._cli_groups import grouped
from napari_sam._cli_models import Engine
from napari_sam._cli_options import (
    Backend,
    BackendName,
    Device,
    Precision,
    PrecisionName,
    Verbose,
    WeightsPath,
)
from napari_sam.core.registry import DEFAULT_MODEL
from napari_sam.evaluation.params import EvaluationParams, Protocol

if TYPE_CHECKING:
    from napari_sam.core.predictor import Predictor
    from napari_sam.evaluation.exams import Contender
    from napari_sam.evaluation.report import Report


@dataclass(frozen=True)
class Images:
    """What is looked at."""

    images: Annotated[
        Path,
        typer.Argument(
            metavar="PACK",
            help="A folder with manifest.json; a folder of images and label images (a.tif with"
            " a_label.tif, or images/ and labels/); a COCO .json; an OME-Zarr image with labels.",
        ),
    ]
    dataset: Annotated[
        list[str] | None,
        typer.Option(help="Only items whose id or data set begins so; may be given again."),
    ] = None
    protocol: Annotated[
        list[Protocol] | None,
        typer.Option(
            help="interactive: clicks and boxes; scribbles: those drawn by people; automatic:"
            " everything without prompts; edges: contours; volumes: objects of stacks. May be given"
            " again. Default: interactive; with --card those that the card has."
        ),
    ] = None
    clicks: Annotated[int, typer.Option(min=1, max=11, help="Clicks on each object.")] = (
        EvaluationParams.clicks
    )
    max_objects: Annotated[
        int, typer.Option(min=1, help="At most so many objects of an image.")
    ] = EvaluationParams.objects_per_image
    max_images: Annotated[
        int | None, typer.Option(min=1, help="At most so many images of a kind.")
    ] = None
    max_planes: Annotated[int, typer.Option(min=1, help="At most so many planes of a stack.")] = (
        EvaluationParams.planes_per_stack
    )


@dataclass(frozen=True)
class Engines:
    """Which models, and what computes them."""

    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME[=FILE]",
            help="See: napari-sam models list. FILE: weights instead of the model's own. May be"
            " given again: the models stand side by side.",
        ),
    ] = None
    weights: WeightsPath = None
    device: Device = "auto"
    precision: PrecisionName = Precision.EXACT
    backend: BackendName = Backend.AUTO

    def contenders(self) -> "list[Contender]":
        """The models, loaded."""
        from napari_sam.evaluation.exams import Contender
        from napari_sam.evaluation.report import describe_model

        names = dict.fromkeys(self.model or [DEFAULT_MODEL])
        if self.weights and len(names) > 1:
            raise typer.BadParameter("--weights is for one model; write --model NAME=FILE.")
        found = []
        for given in names:
            name, _, file = given.partition("=")
            weights = Path(file) if file else self.weights
            engine = Engine(name, weights, self.device, self.precision, self.backend)
            predictor = engine.load()
            about = describe_model(predictor, weights)
            found.append(Contender(given, partial(_same, predictor), about))
        return found


@dataclass(frozen=True)
class Files:
    """What is written beside the printed tables."""

    results: Annotated[
        Path | None,
        typer.Option(
            help="Folder that keeps the results of each image as they come: stopped or killed, the"
            " same command goes on there."
        ),
    ] = None
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write everything, for machines.")
    ] = None
    markdown_path: Annotated[
        Path | None, typer.Option("--markdown", help="Write the printed tables.")
    ] = None
    html_path: Annotated[
        Path | None,
        typer.Option("--html", help="Write a page with tables, curves and pictures."),
    ] = None
    card: Annotated[
        Path | None, typer.Option(help="Model card whose figures are to be replaced.")
    ] = None
    pictures: Annotated[
        Path | None, typer.Option(help="Folder for pictures of the worst and median cases.")
    ] = None


@grouped
def evaluate(images: Images, engines: Engines, files: Files, verbose: Verbose = False) -> None:
    """Measure how well models segment labelled images, beside classical methods.

    One click, a box, and up to eleven corrective clicks on every object: mean IoU by kind of
    image. Other protocols: human scribbles, everything without prompts, contours, volumes.
    """
    from napari_sam.evaluation.report import evaluate_images
    from napari_sam.evaluation.sources import open_images

    params = EvaluationParams(
        protocols=_protocols(images.protocol, files.card),
        clicks=images.clicks,
        objects_per_image=images.max_objects,
        images_per_group=images.max_images,
        planes_per_stack=images.max_planes,
    )
    source = open_images(images.images).only(tuple(images.dataset or ()))
    contenders = engines.contenders()
    job = evaluate_images(contenders, source, params, folder=files.results)
    report = follow(job, start="", transient=True)
    Console().print(report.to_markdown(), markup=False, highlight=False, soft_wrap=True)
    _write(files, report)
    if files.pictures or files.html_path:
        from napari_sam.evaluation.pictures import draw_sheets, write_sheets

        answers = report.of(Protocol.INTERACTIVE)
        planes = images.max_planes
        drawing = draw_sheets(contenders[0].load(), source, answers, planes_per_stack=planes)
        sheets = follow(drawing, start="", transient=True)
        if files.pictures:
            write_sheets(sheets, files.pictures)
        if files.html_path:
            from napari_sam.evaluation.page import render_page

            files.html_path.write_text(render_page(report, sheets), encoding="utf-8")


def _same(predictor: "Predictor") -> "Predictor":
    return predictor


def _protocols(given: list[Protocol] | None, card: Path | None) -> tuple[Protocol, ...]:
    """What is asked for; with a card, all that it has. A card without place is refused at once."""
    if card is None:
        return tuple(dict.fromkeys(given or EvaluationParams.protocols))
    from napari_sam.evaluation.card import check_regions, regions_of

    if given:
        check_regions(card, given)
        return tuple(dict.fromkeys(given))
    return tuple(Protocol(name) for name in regions_of(card))


def _write(files: Files, report: "Report") -> None:
    if files.json_path:
        files.json_path.write_text(report.to_json(), encoding="utf-8")
    if files.markdown_path:
        files.markdown_path.write_text(report.to_markdown(), encoding="utf-8")
    if files.card:
        from napari_sam.evaluation.card import replace_figures

        about = report.provenance_section().markdown(4)
        figures = {section.name: f"{section.markdown(3)}\n\n{about}" for section in report.sections}
        replace_figures(files.card, figures)
