"""Procedural training images with exact masks: numpy, scipy and scikit-image, no data needed.

Scenes imitate what microscopes and scanners show: scattered bodies (nuclei, rods, vesicles), tissue
(cells wall to wall, with or without nuclei) and occluding shapes as in photographs. Every scene is
a function of a random generator alone. Knows nothing of crops or training.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.draw import polygon

from napari_sam.training.canvas import Canvas, Floats, log_uniform, outline
from napari_sam.training.scenes import (
    draw_fibres,
    draw_halo_cells,
    draw_organelles,
    draw_sheathed,
    draw_stained,
)


@dataclass(frozen=True)
class Scene:
    """A synthetic image.

    Attributes
    ----------
    image
        (S, S, 3) uint8.
    labels
        Label images (S, S) int32, 0 background: one, or a fine and a coarse level whose objects
        nest (nuclei and their cells).
    """

    image: NDArray[np.uint8]
    labels: tuple[NDArray[np.int32], ...]


def make_scene(rng: Generator, size: int = 256) -> Scene:
    """Draw one scene of ``size`` x ``size`` pixels."""
    kinds: list[tuple[Callable[[Canvas], None], float]] = [
        (draw_bodies, 0.30),
        (draw_tissue, 0.20),
        (draw_leaves, 0.14),
        (draw_halo_cells, 0.12),
        (draw_sheathed, 0.07),
        (draw_organelles, 0.07),
        (draw_stained, 0.06),
        (draw_fibres, 0.04),
    ]
    draw = kinds[rng.choice(len(kinds), p=[weight for _, weight in kinds])][0]
    for _ in range(8):
        canvas = Canvas(rng, size)
        draw(canvas)
        levels = tuple(drop_specks(level) for level in canvas.levels)
        levels = tuple(level for level in levels if level.any())
        if levels:
            return Scene(degrade(canvas), levels)
    return make_scene(rng, size)


def draw_bodies(canvas: Canvas) -> None:
    """Scattered nuclei, rods or vesicles on a textured ground, apart or overlapping."""
    rng, size, labels = canvas.rng, canvas.size, canvas.levels[0]
    kinds = [("blob", "ellipse"), ("rod",), ("blob",)][rng.choice(3, p=[0.65, 0.2, 0.15])]
    if rng.random() < 0.25:
        kinds = (*kinds, "star", "polygon", "rod")
    hollow = rng.random() < 0.18
    radius, spread = log_uniform(rng, 4, 0.4 * size), rng.uniform(0.05, 0.45)
    count = int(np.clip(rng.uniform(0.05, 0.8) * size**2 / (np.pi * radius**2), 1, 240))
    ground = canvas.colour()
    body = canvas.contrasting(ground)
    canvas.image[:] = ground + rng.uniform(0, 0.12) * canvas.texture()[..., None]
    grain = canvas.texture() * rng.uniform(0, 0.35)
    individual, overlap = rng.uniform(0, 0.5), rng.random() < 0.25
    crowd = rng.uniform(0, size, (rng.integers(1, 6), 2)) if rng.random() < 0.5 else None
    limit = 0.6 if overlap else rng.choice([0.02, 0.25])
    for label in range(1, count + 1):
        centre = rng.uniform(0, size, 2)
        if crowd is not None:
            centre = crowd[rng.integers(len(crowd))] + rng.standard_normal(2) * size * 0.14
        reach = radius * np.exp(rng.standard_normal() * spread)
        y, x = outline(rng, str(rng.choice(kinds)), min(reach, size * 0.6))
        yy, xx = polygon(y + centre[0], x + centre[1], (size, size))
        if len(yy) < 16 or (labels[yy, xx] > 0).mean() > limit:
            continue
        if not overlap:
            free = labels[yy, xx] == 0
            yy, xx = yy[free], xx[free]
        labels[yy, xx] = label
        shade = body + (body - ground) * (rng.random() - 0.6) * individual
        textured = shade + grain[yy, xx, None] * (body - ground)
        if hollow:
            _paint_ring(canvas, (yy, xx), shade, ground + (body - ground) * rng.uniform(0, 0.35))
        elif overlap and rng.random() < 0.7:
            canvas.image[yy, xx] = 0.5 * canvas.image[yy, xx] + 0.5 * textured
        else:
            canvas.image[yy, xx] = textured
    if rng.random() < 0.3:  # out-of-focus glow, or the halo of phase contrast
        blurred = ndimage.gaussian_filter(canvas.image, (*(rng.uniform(4, 14),) * 2, 0))
        canvas.image += (blurred - blurred.mean((0, 1))) * rng.uniform(-0.8, 0.8)


def _paint_ring(
    canvas: Canvas, at: tuple[NDArray[np.intp], NDArray[np.intp]], edge: Floats, fill: Floats
) -> None:
    yy, xx = at
    y0, x0 = yy.min(), xx.min()
    inside = np.zeros((yy.max() - y0 + 3, xx.max() - x0 + 3), bool)
    inside[yy - y0 + 1, xx - x0 + 1] = True
    core = ndimage.binary_erosion(inside, iterations=int(canvas.rng.integers(1, 4)))
    rim = ~core[yy - y0 + 1, xx - x0 + 1]
    canvas.image[yy, xx] = np.where(rim[:, None], edge, fill)


def draw_tissue(canvas: Canvas) -> None:
    """Cells wall to wall with membranes; some scenes have nuclei or organelles inside."""
    rng, size = canvas.rng, canvas.size
    radius = log_uniform(rng, 7, 0.35 * size)
    count = int(np.clip(size**2 / (np.pi * radius**2) * 1.1, 4, 260))
    seeds = rng.uniform(-20, size + 20, (count, 2))
    warp = np.stack([canvas.smooth_field(int(rng.integers(3, 9))) for _ in range(2)])
    warp *= radius * rng.uniform(0.05, 0.5)
    grid = np.mgrid[:size, :size].astype(np.float32) + warp
    distance, nearest = cKDTree(seeds).query(grid.reshape(2, -1).T, k=2)
    cells = (nearest[:, 0] + 1).reshape(size, size).astype(np.int32)
    gap = (distance[:, 1] - distance[:, 0]).reshape(size, size)
    thickness = rng.uniform(1.2, min(5, max(1.5, radius * 0.25)))
    membrane = np.exp(-((gap / thickness) ** 2))[..., None]
    ground = canvas.colour()
    wall = canvas.contrasting(ground, 0.15)
    variety = rng.uniform(0, 0.25) if rng.random() < 0.7 else rng.uniform(0.2, 0.6)
    shades = ground + variety * (rng.random((count + 1, 1 if canvas.grey else 3)) - 0.5)
    canvas.image[:] = shades[cells] + canvas.texture()[..., None] * rng.uniform(0, 0.2)
    nuclei = None
    if rng.random() < 0.55:
        nuclei = _draw_organelles(canvas, cells, radius)
    if rng.random() < 0.35:  # not all of the plane is covered
        empty = (rng.random(count + 1) < rng.uniform(0.1, 0.5))[cells]
        canvas.image[empty] = canvas.colour() + rng.uniform(0, 0.1) * canvas.texture()[empty, None]
        cells[empty] = 0
        if nuclei is not None:
            nuclei[empty] = 0
    canvas.image = np.asarray(canvas.image * (1 - membrane) + wall * membrane, np.float32)
    cells[gap < thickness * 0.45] = 0
    canvas.levels = [cells] if nuclei is None else [nuclei, cells]


def _draw_organelles(canvas: Canvas, cells: NDArray[np.int32], radius: float) -> NDArray[np.int32]:
    """Paint a nucleus (or a few organelles) into each cell; returns their labels."""
    rng, size = canvas.rng, canvas.size
    inner = np.zeros((size, size), np.int32)
    one = rng.random() < 0.6
    share, shade = rng.uniform(0.25, 0.6), canvas.colour()
    present = np.unique(cells)
    centres = ndimage.center_of_mass(np.ones_like(cells), cells, present)
    label = 0
    for cell, centre in zip(present, centres, strict=True):
        for _ in range(1 if one else rng.integers(0, 4)):
            offset = rng.standard_normal(2) * radius * (0.08 if one else 0.4)
            reach = radius * (share if one else rng.uniform(0.08, 0.3))
            y, x = outline(rng, "blob", reach * np.exp(rng.standard_normal() * 0.15))
            yy, xx = polygon(y + centre[0] + offset[0], x + centre[1] + offset[1], (size, size))
            own = cells[yy, xx] == cell
            yy, xx = yy[own], xx[own]
            if len(yy) >= 16:
                label += 1
                inner[yy, xx] = label
                canvas.image[yy, xx] = shade + canvas.texture()[yy, xx, None] * rng.uniform(0, 0.2)
    return inner


def draw_leaves(canvas: Canvas) -> None:
    """Shapes of all sizes that occlude each other, shaded like solid things."""
    rng, size, labels = canvas.rng, canvas.size, canvas.levels[0]
    canvas.image[:] = canvas.colour() + 0.1 * canvas.texture()[..., None]
    count, smallest = int(rng.integers(3, 60)), rng.uniform(5, 16)
    if rng.random() < 0.4:
        count *= 3
    kinds = ("blob", "ellipse", "rod", "polygon", "star")
    for label in range(1, count + 1):
        radius = min(smallest / np.sqrt(max(rng.random(), 0.004)), size * 0.5)
        y, x = outline(rng, str(rng.choice(kinds)), radius)
        centre = rng.uniform(0, size, 2)
        yy, xx = polygon(y + centre[0], x + centre[1], (size, size))
        if len(yy) < 30:
            continue
        labels[yy, xx] = label
        strength = rng.uniform(0, 0.3) * (rng.random() < 0.7)
        tint = 1.0 if canvas.grey else rng.random(3)
        paint = canvas.colour() + strength * canvas.texture()[yy, xx, None] * tint
        if rng.random() < 0.5:
            lean = rng.standard_normal(2) * 0.2 / radius
            paint = paint + ((yy - centre[0]) * lean[0] + (xx - centre[1]) * lean[1])[:, None]
        canvas.image[yy, xx] = paint


def degrade(canvas: Canvas) -> NDArray[np.uint8]:
    """Blur, uneven light and noise, then the percentile range that every picture gets."""
    rng, size = canvas.rng, canvas.size
    image: NDArray[np.floating] = canvas.image
    if rng.random() < 0.85:
        sigma = rng.uniform(0.3, 2.2) if rng.random() < 0.85 else rng.uniform(2, 4)
        image = ndimage.gaussian_filter(image, (sigma, sigma, 0))
    if rng.random() < 0.5:
        lean_y, lean_x = rng.standard_normal(2) * 0.4
        y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
        image = image * np.clip(1 + lean_y * y + lean_x * x, 0.2, 3)[..., None]
    if rng.random() < 0.3:
        image = image + canvas.smooth_field(5)[..., None] * rng.uniform(0.02, 0.15)
    noise = rng.standard_normal((size, size, 1 if rng.random() < 0.6 else 3))
    if rng.random() < 0.3:
        noise = ndimage.gaussian_filter(noise, (0.7, 0.7, 0)) * 1.8
    level = log_uniform(rng, 0.004, 0.15)
    if rng.random() < 0.4:  # shot noise grows with the signal
        noise = noise * np.sqrt(np.clip(image, 0, 2) + 0.02) * 1.5
    image = image + noise * level
    low, high = np.percentile(image[::2, ::2], [0.3, 99.7])
    return np.asarray(np.clip((image - low) / max(high - low, 0.05), 0, 1) * 255, np.uint8)


def drop_specks(labels: NDArray[np.int32], least: int = 24) -> NDArray[np.int32]:
    """Labels with fewer than ``least`` pixels become background."""
    sizes = np.bincount(labels.ravel())
    small = sizes < least
    small[0] = False
    return np.where(small[labels], 0, labels).astype(np.int32)
