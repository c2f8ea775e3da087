"""The worst and the median answers as pictures: what the figures do not tell.

Knows results and the images that they came from; asks the model again for the few objects it draws.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from napari_sam.evaluation.clicks import Box, Click, bounding_region, tight_box
from napari_sam.evaluation.datasets import Sample
from napari_sam.evaluation.groups import group_order
from napari_sam.evaluation.interactive import (
    ObjectResult,
    Segmenter,
    answer_boxes,
    play_clicks,
)
from napari_sam.evaluation.metrics import Mask, iou
from napari_sam.evaluation.params import EvaluationParams
from napari_sam.evaluation.sources import Source
from napari_sam.progress import Progress

if TYPE_CHECKING:
    from napari_sam.core.predictor import ImageEmbedding

PROMPTS = ("click", "clicks", "box")
TRUTH, ANSWER = (0, 255, 0), (255, 0, 255)
POSITIVE, NEGATIVE = (255, 255, 0), (255, 64, 64)
SIDE = 240  # pixels of one tile
MARGIN = 12  # pixels of the image around truth and answer
CAPTION = 14
COLUMNS = 4


@dataclass(frozen=True, eq=False)
class Sheet:
    """Cases of one group under one prompt (``"click"``, ``"clicks"`` or ``"box"``) as a picture."""

    group: str
    prompt: str
    image: Image.Image

    @property
    def file_name(self) -> str:
        """Of letters, digits and dashes."""
        plain = "".join(c if c.isalnum() else "-" for c in self.group)
        return f"{plain.strip('-').lower()}_{self.prompt}.png"


def draw_sheets(
    model: Segmenter,
    source: Source,
    results: Sequence[ObjectResult],
    *,
    planes_per_stack: int = EvaluationParams.planes_per_stack,
    worst: int = 4,
    median: int = 4,
    rounds: int = 5,
) -> Generator[Progress, None, list[Sheet]]:
    """Draw a sheet for each group and prompt: worst cases, then median ones.

    Each tile shows the object with the truth in green, the answer in magenta, and the prompt;
    at most two objects of one image, so that one bad image does not fill the page.

    Parameters
    ----------
    model
        The predictor that gave the results.
    source
        Where the images are.
    results
        Of the interactive protocol.
    planes_per_stack
        As it was evaluated with.
    worst, median
        Number of cases.
    rounds
        Clicks shown in the pictures of corrected objects.
    """
    groups = sorted({result.group for result in results}, key=group_order)
    sheets = []
    for done, group in enumerate(groups):
        yield Progress(done, len(groups), f"pictures: {group}")
        members = [result for result in results if result.group == group]
        chosen = {p: choose_cases(members, p, worst=worst, median=median) for p in PROMPTS}
        names = {result.sample for cases in chosen.values() for result in cases}
        shown = {
            sample.name: Shown(sample, model.encode(sample.picture, intensity="as_is"))
            for sample in _find(source, names, planes_per_stack)
        }
        for prompt, cases in chosen.items():
            tiles = [_draw_result(model, shown[r.sample], r, prompt, rounds) for r in cases]
            sheets.append(Sheet(group, prompt, _sheet(tiles)))
    yield Progress(len(groups), len(groups))
    return sheets


def write_sheets(sheets: Sequence[Sheet], folder: Path) -> list[Path]:
    """Write each sheet as a PNG into a folder, which is created."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / sheet.file_name for sheet in sheets]
    for sheet, path in zip(sheets, paths, strict=True):
        sheet.image.save(path)
    return paths


def choose_cases(
    results: Sequence[ObjectResult], prompt: str, *, worst: int, median: int
) -> list[ObjectResult]:
    """Pick the worst results by a prompt, then some around the median; two an image at most."""
    ordered = sorted(results, key=lambda result: _iou_of(result, prompt))
    middle = sorted(ordered, key=lambda r: abs(ordered.index(r) - len(ordered) // 2))
    chosen: list[ObjectResult] = []
    for candidates, count in ((ordered, worst), (middle, median)):
        used: dict[str, int] = {}
        for result in candidates:
            if count and used.get(result.sample, 0) < 2 and result not in chosen:
                used[result.sample] = used.get(result.sample, 0) + 1
                chosen.append(result)
                count -= 1
    return chosen


def draw_case(
    picture: NDArray[np.uint8],
    truth: Mask,
    answer: Mask,
    *,
    clicks: Sequence[Click] = (),
    box: Box | None = None,
    caption: str = "",
) -> Image.Image:
    """Draw one tile: the part of the picture around truth and answer, plain and with outlines.

    Parameters
    ----------
    picture
        (H, W, 3) uint8.
    truth, answer
        (H, W) masks; the truth is not empty.
    clicks, box
        Prompts in pixels of the picture.
    caption
        Written above.
    """
    rows, columns = bounding_region(truth | answer)
    y0, y1 = max(rows.start - MARGIN, 0), min(rows.stop + MARGIN, truth.shape[0])
    x0, x1 = max(columns.start - MARGIN, 0), min(columns.stop + MARGIN, truth.shape[1])
    zoom = SIDE / max(y1 - y0, x1 - x0)
    size = (max(1, round((x1 - x0) * zoom)), max(1, round((y1 - y0) * zoom)))
    plain = Image.fromarray(picture[y0:y1, x0:x1]).resize(size, Image.Resampling.BILINEAR)
    drawn = np.array(plain)
    for mask, colour in ((truth, TRUTH), (answer, ANSWER)):
        drawn[_outline(mask[y0:y1, x0:x1], size)] = colour
    marked = Image.fromarray(drawn)
    pen = ImageDraw.Draw(marked)
    for click in clicks:
        y, x = (click.y - y0 + 0.5) * zoom, (click.x - x0 + 0.5) * zoom
        colour = POSITIVE if click.positive else NEGATIVE
        pen.ellipse((x - 4, y - 4, x + 4, y + 4), outline=colour, width=2)
    if box:
        top, left, bottom, right = box
        corners = [(left - x0, top - y0), (right - x0, bottom - y0)]
        pen.rectangle([((x + 0.5) * zoom, (y + 0.5) * zoom) for x, y in corners], outline=POSITIVE)
    tile = Image.new("RGB", (2 * SIDE + 6, SIDE + CAPTION + 4))
    tile.paste(plain, (0, CAPTION))
    tile.paste(marked, (SIDE + 2, CAPTION))
    ImageDraw.Draw(tile).text((2, 1), caption, fill=(255, 255, 255))
    return tile


@dataclass(frozen=True, eq=False)
class Shown:
    """An image that cases are drawn of, encoded once."""

    sample: Sample
    embedding: "ImageEmbedding"


def _find(source: Source, names: set[str], most: int) -> Iterator[Sample]:
    """Images by their names; those of stacks begin with the item's."""
    for item in source.items:
        if any(name.partition("#")[0] == item["id"] for name in names):
            yield from (sample for sample in source.planes(item, most) if sample.name in names)


def _draw_result(
    model: Segmenter, shown: Shown, result: ObjectResult, prompt: str, rounds: int
) -> Image.Image:
    sample = shown.sample
    truth = sample.labels == result.label
    if prompt == "box":
        box = tight_box(truth)
        mask, score = answer_boxes(model, shown.embedding, [box])[0]
        caption = _caption(result, iou(mask, truth), score)
        return draw_case(sample.picture, truth, mask, box=box, caption=caption)
    count = rounds if prompt == "clicks" else 1
    sitting = play_clicks(model, shown.embedding, [truth], rounds=count)[0]
    caption = _caption(result, iou(sitting.masks[-1], truth), sitting.scores[-1])
    return draw_case(
        sample.picture, truth, sitting.masks[-1], clicks=sitting.clicks, caption=caption
    )


def _caption(result: ObjectResult, found: float, score: float) -> str:
    name = result.sample.rpartition("/")[2][:16]
    return f"{name} #{result.label}  {result.area} px  IoU {found:.2f}  said {score:.2f}"


def _iou_of(result: ObjectResult, prompt: str) -> float:
    return {"click": result.clicks[0], "clicks": result.clicks[:5][-1], "box": result.box}[prompt]


def _outline(mask: Mask, size: tuple[int, int]) -> Mask:
    """Outline of the mask enlarged to (width, height), so that it is thin at any zoom."""
    large = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    return np.asarray(large & ~ndimage.binary_erosion(large, iterations=2))


def _sheet(tiles: Sequence[Image.Image]) -> Image.Image:
    width, height = tiles[0].size
    rows = -(-len(tiles) // COLUMNS)
    sheet = Image.new("RGB", (min(COLUMNS, len(tiles)) * width, rows * height))
    for place, tile in enumerate(tiles):
        sheet.paste(tile, (place % COLUMNS * width, place // COLUMNS * height))
    return sheet
