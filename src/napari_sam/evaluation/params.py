"""What an evaluation may set. Torch-free, frozen, written into every report."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated


class Protocol(StrEnum):
    """What is done with an image; the definitions and sources stand in the module named.

    ``interactive.py``: clicks and boxes on single objects. ``scribbles.py``: what people have
    drawn. ``everything.py``: all objects without prompts, and proposals. ``edges.py``: contours
    against those of several people. ``volumes.py``: objects of stacks, plane by plane.
    """

    INTERACTIVE = "interactive"
    SCRIBBLES = "scribbles"
    AUTOMATIC = "automatic"
    EDGES = "edges"
    VOLUMES = "volumes"


@dataclass(frozen=True)
class EvaluationParams:
    """How objects are chosen and prompted.

    Attributes
    ----------
    protocols
        What is done, in this order.
    clicks
        Rounds of the interactive protocol: the first click and the corrections after it.
    objects_per_image
        At most so many objects of each image, drawn by ``seed``; the draw depends on nothing else
        but the image's name, so two models are asked about the same objects.
    images_per_group
        At most so many items of each row of the report, evenly spread; None: all.
    planes_per_stack
        At most so many planes of a stack or frames of a film, evenly spread.
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
    clicks: Annotated[int, {"min": 1, "max": 11}] = 11
    objects_per_image: Annotated[int, {"min": 1}] = 40
    images_per_group: Annotated[int | None, {"min": 1}] = None
    planes_per_stack: Annotated[int, {"min": 1}] = 4
    least_area: Annotated[int, {"min": 1}] = 20
    walker_objects: Annotated[int, {"min": 0}] = 60
    seed: int = 0
    chunk: Annotated[int, {"min": 1}] = 8
