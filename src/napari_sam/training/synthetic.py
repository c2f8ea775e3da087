"""Procedural training images with exact masks: numpy, scipy and scikit-image, no data needed.

Scenes imitate what microscopes and scanners show: scattered bodies (nuclei, rods, vesicles), tissue
(cells wall to wall, with or without nuclei) and occluding shapes as in photographs. Every scene is
a function of a random generator alone. Knows nothing of crops or training.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.draw import polygon

Floats = NDArray[np.float32]
Outline = tuple[NDArray[np.floating], NDArray[np.floating]]
TEXTURE_SIZE, TEXTURE_COUNT = 512, 48
ANGLES = np.linspace(0, 2 * np.pi, 48, endpoint=False)


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
        (draw_bodies, 0.44),
        (draw_tissue, 0.32),
        (draw_leaves, 0.24),
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


def log_uniform(rng: Generator, low: float, high: float) -> float:
    """One draw whose logarithm is uniform between ``low`` and ``high``."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


@cache
def textures() -> tuple[Floats, ...]:
    """A fixed bank of noise fields of many roughnesses, zero mean and unit variance."""
    rng = np.random.default_rng(20)
    return tuple(_noise_field(rng) for _ in range(TEXTURE_COUNT))


def _noise_field(rng: Generator) -> Floats:
    frequency = np.fft.fftfreq(TEXTURE_SIZE)
    fx, fy = np.meshgrid(frequency, frequency)
    turn, stretch = rng.uniform(0, np.pi), rng.choice([1.0, 1.0, 1.0, 3.0, 6.0])
    u, v = fx * np.cos(turn) + fy * np.sin(turn), fy * np.cos(turn) - fx * np.sin(turn)
    radius = np.hypot(u * stretch, v)
    radius[0, 0] = 1
    if rng.random() < 0.35:  # granular or regular
        centre = log_uniform(rng, 0.02, 0.3)
        amplitude = np.exp(-(((radius - centre) / (0.35 * centre)) ** 2))
    else:
        amplitude = radius ** -rng.uniform(0.2, 2.2)
    amplitude[0, 0] = 0
    white = rng.standard_normal((TEXTURE_SIZE, TEXTURE_SIZE))
    field = np.fft.ifft2(np.fft.fft2(white) * amplitude).real
    return np.asarray(field / field.std(), np.float32)


class Canvas:
    """What the drawing functions share: image, label levels, colours and textures."""

    def __init__(self, rng: Generator, size: int) -> None:
        self.rng = rng
        self.size = size
        self.image = np.zeros((size, size, 3), np.float32)
        self.levels: list[NDArray[np.int32]] = [np.zeros((size, size), np.int32)]
        self.grey = rng.random() < 0.65

    def colour(self) -> Floats:
        """A random colour, grey on grey canvases."""
        values = self.rng.random(1 if self.grey else 3)
        return np.broadcast_to(values, 3).astype(np.float32)

    def contrasting(self, other: Floats, least: float = 0.12) -> Floats:
        """A colour that differs from ``other`` by ``least`` in some channel."""
        while np.abs((found := self.colour()) - other).max() < least:
            pass
        return found

    def texture(self) -> Floats:
        """A random (size, size) cut of the texture bank."""
        bank = textures()
        field = bank[self.rng.integers(len(bank))]
        y, x = self.rng.integers(0, TEXTURE_SIZE - self.size + 1, 2)
        cut = field[y : y + self.size, x : x + self.size]
        cut = np.rot90(cut, int(self.rng.integers(4)))
        return np.asarray(np.sign(cut) if self.rng.random() < 0.15 else cut, np.float32)

    def smooth_field(self, knots: int) -> Floats:
        """A smooth random (size, size) field, about unit variance."""
        coarse = self.rng.standard_normal((knots, knots))
        zoomed = ndimage.zoom(coarse, self.size / knots, order=3)
        return np.asarray(zoomed[: self.size, : self.size], np.float32)


def outline(rng: Generator, kind: str, radius: float) -> Outline:
    """Closed outline (y, x) about the origin: blob, ellipse, rod, polygon or star."""
    y: NDArray[np.floating]
    x: NDArray[np.floating]
    if kind == "rod":
        y, x = _rod(rng, radius)
    elif kind == "polygon":
        turns = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 9)))
        reach = radius * rng.uniform(0.6, 1.1, len(turns))
        y, x = reach * np.sin(turns), reach * np.cos(turns)
    else:
        reach, squeeze = np.full(len(ANGLES), radius), rng.uniform(0.5, 1)
        if kind == "blob":
            for k in range(2, 6):
                wave = np.cos(k * ANGLES + rng.uniform(0, 2 * np.pi))
                reach = reach * (1 + 0.16 / k * rng.standard_normal() * wave)
        elif kind == "star":
            arms = rng.integers(3, 9)
            reach = reach * (1 + rng.uniform(0.15, 0.5) * np.cos(arms * ANGLES))
        y, x = reach * np.sin(ANGLES), squeeze * reach * np.cos(ANGLES)
    turn = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(turn), np.sin(turn)
    return c * y - s * x, s * y + c * x


def _rod(rng: Generator, length: float) -> Outline:
    """A bent capsule of half length ``length``."""
    half_width = length * rng.uniform(0.12, 0.4)
    heading = rng.uniform(-0.8, 0.8) * np.linspace(-1, 1, 16)
    step = 2 * length / 16
    x, y = np.cumsum(np.cos(heading)) * step, np.cumsum(np.sin(heading)) * step
    x, y = x - x.mean(), y - y.mean()
    across_x, across_y = -np.sin(heading) * half_width, np.cos(heading) * half_width
    ends = []
    for at, start in ((-1, np.pi / 2), (0, -np.pi / 2)):
        turns = heading[at] + np.linspace(start, start - np.pi, 8)[1:-1]
        ends.append((y[at] + half_width * np.sin(turns), x[at] + half_width * np.cos(turns)))
    ys = np.concatenate([y + across_y, ends[0][0], (y - across_y)[::-1], ends[1][0]])
    xs = np.concatenate([x + across_x, ends[0][1], (x - across_x)[::-1], ends[1][1]])
    return ys, xs


def draw_bodies(canvas: Canvas) -> None:
    """Scattered nuclei, rods or vesicles on a textured ground, apart or overlapping."""
    rng, size, labels = canvas.rng, canvas.size, canvas.levels[0]
    kinds = [("blob", "ellipse"), ("rod",), ("blob",)][rng.choice(3, p=[0.65, 0.2, 0.15])]
    if rng.random() < 0.25:
        kinds = (*kinds, "star", "polygon", "rod")
    hollow = rng.random() < 0.18
    radius, spread = log_uniform(rng, 4, 100), rng.uniform(0.05, 0.45)
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
    radius = log_uniform(rng, 7, 90)
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
