"""``napari-sam evaluate``: how well a model segments labelled images.

Knows the options and the bar; what is measured and how is told in ``evaluation``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from napari_sam._cli_follow import follow
from napari_sam._cli_groups import grouped
from napari_sam._cli_models import Engine
from napari_sam._cli_options import Verbose
from napari_sam.evaluation.params import EvaluationParams, Protocol

if TYPE_CHECKING:
    from napari_sam.evaluation.report import Report


@dataclass(frozen=True)
class Images:
    """What is looked at."""

    pack: Annotated[Path, typer.Argument(help="Folder with labelled images and manifest.json.")]
    dataset: Annotated[
        list[str] | None,
        typer.Option(help="Only items whose id or data set begins so; may be given again."),
    ] = None
    protocol: Annotated[
        list[Protocol] | None,
        typer.Option(
            help="interactive: clicks and boxes; automatic: everything without prompts. May be"
            " given again. Default: interactive."
        ),
    ] = None
    max_objects: Annotated[
        int, typer.Option(min=1, help="At most so many objects of an image.")
    ] = EvaluationParams.objects_per_image
    max_images: Annotated[
        int | None, typer.Option(min=1, help="At most so many images of a kind.")
    ] = None


@dataclass(frozen=True)
class Files:
    """What is written beside the printed tables."""

    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write everything, for machines.")
    ] = None
    markdown_path: Annotated[
        Path | None, typer.Option("--markdown", help="Write the printed tables.")
    ] = None
    card: Annotated[
        Path | None, typer.Option(help="Model card whose figures are to be replaced.")
    ] = None
    pictures: Annotated[
        Path | None, typer.Option(help="Folder for pictures of the worst and median cases.")
    ] = None


@grouped
def evaluate(images: Images, engine: Engine, files: Files, verbose: Verbose = False) -> None:
    """Measure how well a model segments labelled images, beside classical methods.

    One click, a box, and 3 and 5 corrective clicks on every object: mean IoU by kind of image.
    With --protocol automatic: everything is searched without prompts, and counted.
    """
    from napari_sam.evaluation.report import describe_model, evaluate_pack

    predictor = engine.load()
    params = EvaluationParams(
        protocols=tuple(images.protocol or EvaluationParams.protocols),
        objects_per_image=images.max_objects,
        images_per_group=images.max_images,
    )
    job = evaluate_pack(
        predictor,
        images.pack,
        params,
        datasets=tuple(images.dataset or ()),
        provenance=describe_model(predictor, engine.weights),
    )
    report = follow(job, start="", transient=True)
    Console().print(report.to_markdown(), markup=False, highlight=False, soft_wrap=True)
    _write(files, report)
    if files.pictures:
        from napari_sam.evaluation.pictures import write_pictures

        drawing = write_pictures(predictor, images.pack, report.results, files.pictures)
        follow(drawing, start="", transient=True)


def _write(files: Files, report: "Report") -> None:
    markdown = report.to_markdown()
    if files.json_path:
        files.json_path.write_text(report.to_json(), encoding="utf-8")
    if files.markdown_path:
        files.markdown_path.write_text(markdown, encoding="utf-8")
    if files.card:
        from napari_sam.evaluation.card import replace_figures

        replace_figures(files.card, markdown.replace("\n## ", "\n### ").replace("## ", "### ", 1))
