"""More drawn scenes: what the first weights saw too little of, and did badly on.

Cells with halos and hardly any contrast, sheathed bodies and organelles between membranes as in
electron micrographs, fibres, stained tissue. Each draws on a
:class:`~napari_sam.training.synthetic.Canvas` as the scenes there do.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage
from skimage.draw import polygon

from napari_sam.training.canvas import Canvas, Outline, log_uniform, outline

Pixels = tuple[NDArray[np.intp], NDArray[np.intp]]


def draw_halo_cells(canvas: Canvas) -> None:
    """Phase contrast: cells as grey as their ground, with a dark edge and a bright halo."""
    rng, size = canvas.rng, canvas.size
    canvas.image[:] = rng.uniform(0.3, 0.6) + rng.uniform(0.01, 0.06) * canvas.texture()[..., None]
    radius = log_uniform(rng, 10, 0.3 * size)
    cells = _scatter(canvas, radius, ("rod", "blob", "star", "ellipse"), rng.uniform(0.2, 0.9))
    inside = (cells > 0).astype(np.float32)
    for width, height in ((rng.uniform(1.5, 6), rng.uniform(0.1, 0.5)), (1.0, -0.2)):
        edge = ndimage.gaussian_filter(inside, width)
        outside = (edge - inside) if height > 0 else np.minimum(edge, 1 - edge)
        canvas.image += (np.clip(outside, 0, None) * height * rng.uniform(0.5, 2))[..., None]
    grain = canvas.texture() * rng.uniform(0.02, 0.12)
    shade = rng.uniform(-0.12, 0.12)
    canvas.image += ((grain + shade) * ndimage.gaussian_filter(inside, 1))[..., None]


def draw_sheathed(canvas: Canvas) -> None:
    """Axons in their sheaths, crowded; the bodies and the bodies with sheaths are two levels."""
    rng, size = canvas.rng, canvas.size
    canvas.image[:] = canvas.colour() + rng.uniform(0.02, 0.1) * canvas.texture()[..., None]
    radius = log_uniform(rng, 6, 0.2 * size)
    whole = _scatter(canvas, radius, ("blob", "ellipse"), rng.uniform(0.5, 0.95))
    depth = ndimage.distance_transform_edt(_apart(whole))
    deepest = np.asarray(ndimage.maximum(depth, whole, np.arange(whole.max() + 1)))
    inner = np.where(depth > deepest[whole] * rng.uniform(0.15, 0.6), whole, 0)
    ground = canvas.colour()
    sheath = canvas.contrasting(ground, 0.2)
    axon = canvas.contrasting(sheath, 0.2)
    grain = canvas.texture()[..., None] * rng.uniform(0.02, 0.12)
    canvas.image[whole > 0] = (sheath + grain)[whole > 0]
    canvas.image[inner > 0] = (axon + grain)[inner > 0]
    canvas.levels = [inner.astype(np.int32), whole]


def draw_fibres(canvas: Canvas) -> None:
    """Long thin things that cross each other: fibres, hyphae, bacteria in chains."""
    rng, size, labels = canvas.rng, canvas.size, canvas.levels[0]
    ground = canvas.colour()
    canvas.image[:] = ground + rng.uniform(0, 0.1) * canvas.texture()[..., None]
    paint = canvas.contrasting(ground, 0.15)
    width = log_uniform(rng, 2.5, 12)
    for label in range(1, int(rng.integers(3, 25))):
        length = width * log_uniform(rng, 4, 30)
        y, x = _fibre(rng, min(length, size * 0.8), width * rng.uniform(0.7, 1.4))
        centre = rng.uniform(0, size, 2)
        at = polygon(y + centre[0], x + centre[1], (size, size))
        if len(at[0]) < 30:
            continue
        labels[at] = label
        shade = paint + (paint - ground) * rng.uniform(-0.3, 0.3)
        canvas.image[at] = shade + 0.06 * canvas.texture()[at][:, None]


def draw_stained(canvas: Canvas) -> None:
    """Haematoxylin and eosin: violet nuclei with chromatin on a pink, fibrous ground."""
    rng = canvas.rng
    canvas.grey = False
    eosin = np.array([rng.uniform(0.75, 0.95), rng.uniform(0.5, 0.8), rng.uniform(0.7, 0.9)])
    blue = np.array([rng.uniform(0.25, 0.6), rng.uniform(0.15, 0.45), rng.uniform(0.4, 0.75)])
    fibrous = canvas.texture()[..., None] * rng.uniform(0.03, 0.1)
    canvas.image[:] = eosin + fibrous + canvas.smooth_field(6)[..., None] * rng.uniform(0, 0.08)
    holes = canvas.smooth_field(int(rng.integers(5, 14))) > rng.uniform(1.0, 2.0)
    canvas.image[holes] = 0.95
    nuclei = _scatter(canvas, log_uniform(rng, 6, 30), ("blob", "ellipse"), rng.uniform(0.15, 0.6))
    pale = 1 - rng.random(int(nuclei.max()) + 1) * rng.uniform(0, 0.7)
    share = pale[nuclei][..., None] * rng.uniform(0.6, 1)
    chromatin = canvas.texture()[..., None] * rng.uniform(0.03, 0.15)
    stained = canvas.image * (1 - share) + (blue + chromatin) * share
    canvas.image = np.where((nuclei > 0)[..., None], stained, canvas.image).astype(np.float32)


def draw_organelles(canvas: Canvas) -> None:
    """Electron micrograph: membranes wall to wall, organelles between them that distract."""
    rng, size = canvas.rng, canvas.size
    radius = log_uniform(rng, 12, 0.3 * size)
    seeds = rng.uniform(-radius, size + radius, (max(4, int((size / radius) ** 2 / 2)), 2))
    warp = [canvas.smooth_field(int(rng.integers(4, 12))) for _ in range(2)]
    grid = np.mgrid[:size, :size] + np.stack(warp) * radius * rng.uniform(0.2, 0.9)
    apart = ((grid[:, None] - seeds.T[:, :, None, None]) ** 2).sum(0)
    cells = apart.argmin(0).astype(np.int32) + 1
    wall = ndimage.gaussian_filter(_edge(cells).astype(np.float32), rng.uniform(0.6, 1.6))
    light = rng.uniform(0.55, 0.85)
    shades = light + rng.uniform(0, 0.12) * rng.standard_normal(int(cells.max()) + 1)
    canvas.image[:] = shades[cells][..., None]
    canvas.image += canvas.texture()[..., None] * rng.uniform(0.02, 0.1)
    kept = cells.copy()
    inner = _scatter(canvas, radius * rng.uniform(0.1, 0.3), ("rod", "blob"), rng.uniform(0, 0.3))
    inner = np.where(ndimage.binary_dilation(_edge(cells), iterations=2), 0, inner)
    canvas.image[inner > 0] -= rng.uniform(0.1, 0.35)
    canvas.image -= np.clip(wall * rng.uniform(0.8, 1.6), 0, 1)[..., None] * (light - 0.15)
    kept[_edge(cells)] = 0
    canvas.levels = [inner.astype(np.int32), kept] if rng.random() < 0.5 else [kept]


def _scatter(
    canvas: Canvas, radius: float, kinds: tuple[str, ...], cover: float
) -> NDArray[np.int32]:
    """Labels of bodies that do not overlap, about ``cover`` of the plane; nothing is painted."""
    rng, size, labels = canvas.rng, canvas.size, canvas.levels[0]
    count = int(np.clip(cover * size**2 / (np.pi * radius**2), 1, 250))
    for label in range(1, count + 1):
        reach = min(radius * np.exp(rng.standard_normal() * 0.3), size * 0.5)
        y, x = outline(rng, str(rng.choice(kinds)), reach)
        centre = rng.uniform(0, size, 2)
        yy, xx = polygon(y + centre[0], x + centre[1], (size, size))
        free = labels[yy, xx] == 0
        if free.sum() >= max(24, 0.7 * len(yy)):
            labels[yy[free], xx[free]] = label
    return labels


def _fibre(rng: Generator, length: float, width: float) -> Outline:
    """Outline (y, x) about the origin of a bent band of one width."""
    steps = 24
    heading = np.cumsum(rng.standard_normal(steps)) * rng.uniform(0.02, 0.2) + rng.uniform(0, 7)
    x, y = np.cumsum(np.cos(heading)), np.cumsum(np.sin(heading))
    x, y = (x - x.mean()) * length / steps, (y - y.mean()) * length / steps
    across_x, across_y = -np.sin(heading) * width / 2, np.cos(heading) * width / 2
    return (
        np.concatenate([y + across_y, (y - across_y)[::-1]]),
        np.concatenate([x + across_x, (x - across_x)[::-1]]),
    )


def _edge(labels: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Pixels whose right or lower neighbour has another label."""
    edge = np.zeros(labels.shape, bool)
    edge[:, :-1] |= labels[:, 1:] != labels[:, :-1]
    edge[:-1] |= labels[1:] != labels[:-1]
    return edge


def _apart(labels: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Pixels of objects that touch no other object."""
    return (labels > 0) & ~_edge(labels)
