"""What drawn scenes are made of: a canvas with noise textures, and outlines of bodies.

Knows numpy and scipy; nothing of what the scenes imitate.
"""

from functools import cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float32]
Outline = tuple[NDArray[np.floating], NDArray[np.floating]]
TEXTURE_SIZE, TEXTURE_COUNT = 512, 48
ANGLES = np.linspace(0, 2 * np.pi, 48, endpoint=False)


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
