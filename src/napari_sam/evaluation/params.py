"""What an evaluation may set. Torch-free, frozen, written into every report."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated


class Protocol(StrEnum):
    """What is done with an image: ``evaluation/interactive.py``, ``evaluation/everything.py``."""

    INTERACTIVE = "interactive"
    AUTOMATIC = "automatic"


@dataclass(frozen=True)
class EvaluationParams:
    """How objects are chosen and prompted.

    Attributes
    ----------
    protocols
        What is done: ``"interactive"`` (clicks and boxes on single objects, beside classical
        methods), ``"automatic"`` (everything without prompts), or both.
    clicks
        Rounds of the interactive protocol: the first click and the corrections after it.
    objects_per_image
        At most so many objects of each image, drawn by ``seed``; the draw depends on nothing else
        but the image's name, so two models are asked about the same objects.
    images_per_group
        At most so many images of each row of the report, evenly spread; None: all.
    least_area
        Smaller objects, in pixels of the image, are left out.
    walker_objects
        The random walkers are slow: they answer for at most so many objects of each group.
    seed
        Of all draws.
    chunk
        Objects decoded at once. On a CPU more bring nothing but page faults.
    """

    protocols: tuple[Protocol, ...] = (Protocol.INTERACTIVE,)
    clicks: Annotated[int, {"min": 1, "max": 11}] = 5
    objects_per_image: Annotated[int, {"min": 1}] = 40
    images_per_group: Annotated[int | None, {"min": 1}] = None
    least_area: Annotated[int, {"min": 1}] = 20
    walker_objects: Annotated[int, {"min": 0}] = 60
    seed: int = 0
    chunk: Annotated[int, {"min": 1}] = 8
