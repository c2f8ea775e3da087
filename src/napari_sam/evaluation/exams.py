"""What all protocols have in common: who is asked, about what, and what becomes of the answers.

Each protocol's module has one :class:`Exam`; :data:`EXAM_MODULES` says which. Knows no protocol
from inside.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from napari_sam.evaluation.datasets import Sample
from napari_sam.evaluation.params import EvaluationParams, Protocol
from napari_sam.evaluation.sources import Item, Source
from napari_sam.evaluation.tables import Section

if TYPE_CHECKING:
    from napari_sam.core.automatic import EncodesAndDecodes

EXAM_MODULES: Mapping[Protocol, str] = MappingProxyType(
    {
        Protocol.INTERACTIVE: "napari_sam.evaluation.interactive_exam",
        Protocol.SCRIBBLES: "napari_sam.evaluation.scribbles",
        Protocol.AUTOMATIC: "napari_sam.evaluation.automatic_exam",
        Protocol.EDGES: "napari_sam.evaluation.edges",
        Protocol.VOLUMES: "napari_sam.evaluation.volumes",
    }
)


@dataclass(frozen=True)
class Contender:
    """A model that is asked.

    Attributes
    ----------
    name
        In tables; no two have the same.
    load
        Makes the predictor; called only where something is left to ask.
    about
        What its answers depend on, for the store and the report.
    """

    name: str
    load: "Callable[[], EncodesAndDecodes]"
    about: Mapping[str, object]


@dataclass(frozen=True)
class Question:
    """One image with all that an exam needs to know.

    Attributes
    ----------
    sample
        The image.
    group
        Row of the report.
    params
        Of the evaluation.
    walkers
        At most so many objects may be put to the slow classical methods.
    """

    sample: Sample
    group: str
    params: EvaluationParams
    walkers: int = 0


@dataclass(frozen=True)
class Findings:
    """What an exam writes its section from.

    Attributes
    ----------
    by_model
        Model -> its results, all images one after the other.
    classical
        What classical methods made of the same images.
    origins
        Name of an image -> how its ground truth came about.
    params
        Of the evaluation.
    """

    by_model: Mapping[str, Sequence[Any]]
    classical: Sequence[Any]
    origins: Mapping[str, str]
    params: EvaluationParams


@dataclass(frozen=True)
class Exam:
    """A protocol as the report runs it.

    Attributes
    ----------
    wants
        Whether an item of a data set can take part.
    samples
        Its images.
    ask
        The model's results for an image.
    result, classical_result
        Dataclasses of numbers, texts and tuples: they go to disk as JSON.
    ask_classical
        What classical methods make of it; needs no model.
    section
        The results for people.
    """

    wants: Callable[[Item], bool]
    samples: Callable[[Source, Item, EvaluationParams], Iterator[Sample]]
    ask: "Callable[[EncodesAndDecodes, Question], list[Any]]"
    result: type
    ask_classical: Callable[[Question], list[Any]]
    classical_result: type
    section: Callable[[Findings], Section]


def exam_of(protocol: Protocol) -> Exam:
    """The exam of a protocol."""
    exam: Exam = import_module(EXAM_MODULES[protocol]).EXAM
    return exam


def planes(source: Source, item: Item, params: EvaluationParams) -> Iterator[Sample]:
    """Labelled planes of an item: what most exams look at."""
    return source.planes(item, params.planes_per_stack)
