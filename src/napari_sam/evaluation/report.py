"""Images and models in, a report out.

Knows the order of things: which items, who answers, what is kept and what is written. Importing it
loads no torch: that happens when the first model is loaded.
"""

import hashlib
import json
import platform
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari_sam
from napari_sam.evaluation.params import EvaluationParams, Protocol
from napari_sam.progress import Progress

if TYPE_CHECKING:
    from napari_sam.core.automatic import EncodesAndDecodes
    from napari_sam.core.predictor import Predictor
    from napari_sam.core.registry import ModelSpec
    from napari_sam.evaluation.exams import Contender, Exam, Question
    from napari_sam.evaluation.results import ResultStore
    from napari_sam.evaluation.sources import Item, Source
    from napari_sam.evaluation.tables import Section

FORMAT, FORMAT_VERSION = "napari-sam evaluation", 2
CLASSICAL = "classical methods"
# Settings that single answers depend on; the others only choose images.
ASKED = ("clicks", "objects_per_image", "least_area", "seed")
Answers = dict[Protocol, list[Any]]


@dataclass(frozen=True)
class Report:
    """What an evaluation found.

    Attributes
    ----------
    sections
        One for each protocol that had images.
    results
        Model -> protocol -> results of single objects or images.
    classical
        Protocol -> results of classical methods.
    origins
        Name of an image -> how its ground truth came about.
    params, provenance
        How, by what (for each model) and when.
    """

    sections: tuple["Section", ...]
    results: Mapping[str, Mapping[Protocol, Sequence[Any]]]
    classical: Mapping[Protocol, Sequence[Any]]
    origins: Mapping[str, str]
    params: EvaluationParams
    provenance: Mapping[str, Mapping[str, object]]

    def of(self, protocol: Protocol, model: str | None = None) -> Sequence[Any]:
        """Results of a protocol: those of a model, or of the first one."""
        return self.results[model or next(iter(self.results))].get(protocol, ())

    def to_markdown(self) -> str:
        """Tables and bars for people."""
        parts = [section.markdown() for section in self.sections]
        return "\n\n".join([*parts, self.provenance_section().markdown()]) + "\n"

    def provenance_section(self) -> "Section":
        """What was asked, by whom and when."""
        from napari_sam.evaluation.tables import Section, bullets

        lines = [
            f"{name}: {value}"
            for about in self.provenance.values()
            for name, value in about.items()
        ]
        return Section("provenance", "Provenance", (bullets(lines),))

    def to_json(self) -> str:
        """Everything, for machines."""
        content: dict[str, Any] = {"format": FORMAT, "format_version": FORMAT_VERSION}
        return json.dumps(content | asdict(self), indent=1, ensure_ascii=False)


def evaluate_pack(
    model: "EncodesAndDecodes",
    pack: Path,
    params: EvaluationParams | None = None,
    *,
    datasets: tuple[str, ...] = (),
    provenance: Mapping[str, object] | None = None,
) -> Generator[Progress, None, Report]:
    """Evaluate one model that is loaded: a job. See :func:`evaluate_images`.

    Parameters
    ----------
    model
        A predictor.
    pack
        Whatever :func:`~napari_sam.evaluation.sources.open_images` opens.
    params
        How; None for the defaults.
    datasets
        Only items whose id or dataset begins with one of these.
    provenance
        What is known of the model.

    Raises
    ------
    ImageError
        If the images cannot be read, or none fits.
    """
    from napari_sam.evaluation.exams import Contender
    from napari_sam.evaluation.sources import open_images

    contender = Contender("model", lambda: model, provenance or {})
    source = open_images(pack).only(datasets)
    return (yield from evaluate_images([contender], source, params))


def evaluate_images(
    contenders: "Sequence[Contender]",
    source: "Source",
    params: EvaluationParams | None = None,
    *,
    folder: Path | None = None,
) -> Generator[Progress, None, Report]:
    """Run the protocols on labelled images, model by model, then classical methods: a job.

    Parameters
    ----------
    contenders
        Models, one after the other.
    source
        Images.
    params
        How; None for the defaults.
    folder
        Where results of single images are kept as they come: the same call goes on where a killed
        one stopped, with the same report. None keeps nothing.

    Raises
    ------
    ImageError
        If an image cannot be read, or none fits the protocols.
    StoreMismatchError
        If ``folder`` holds results of other models or settings.
    """
    from napari_sam.errors import ImageError

    params = params or EvaluationParams()
    tasks = list(_tasks(source, params))
    if not tasks:
        raise ImageError(f"{source.name} has no labelled image for: {', '.join(params.protocols)}.")
    askers = [_asker(contender, folder, params) for contender in contenders]
    askers.append(_classical_asker(folder, params))
    found: dict[str, Answers] = {}
    origins: dict[str, str] = {}
    for number, asker in enumerate(askers):
        before = number * len(tasks), len(askers) * len(tasks)
        found[asker.name] = yield from _ask_all(asker, tasks, params, source, before, origins)
    classical = found.pop(CLASSICAL)
    about = {"pack": source.name, "pack version": source.version} | _now()
    return Report(
        sections=tuple(_sections(found, classical, origins, params)),
        results=found,
        classical=classical,
        origins=origins,
        params=params,
        provenance={c.name: {**c.about, **about} for c in contenders},
    )


def describe_model(predictor: "Predictor", weights: Path | None) -> dict[str, object]:
    """What the answers of a model depend on: name, hash of its file, device, versions."""
    from napari_sam.core.weights import weights_path

    path = weights or weights_path(predictor.spec)
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
    return {
        "model": predictor.spec.name,
        "weights sha256": digest,
        "input long side": _long_side(predictor.spec),
        "runtime": predictor.runtime.describe(),
        "napari-sam": napari_sam.__version__,
        "torch": version("torch"),
    }


def _long_side(spec: "ModelSpec") -> str:
    bound = f", at most {spec.most_enlargement:g} times its own"
    bounded = spec.most_enlargement < spec.least_size
    return f"{spec.least_size} to {spec.image_size} pixels{bound if bounded else ''}"


@dataclass(frozen=True)
class _Task:
    """An item under a protocol, with its share of the slow methods' objects."""

    protocol: Protocol
    item: "Item"
    walkers: int


@dataclass(frozen=True)
class _Asker:
    """One who answers, and where the answers are kept."""

    name: str
    ask: "Callable[[Exam, Question], list[Any]]"
    kind: "Callable[[Exam], type]"
    store: "ResultStore | None"
    known: dict[Protocol, dict[str, list[Any]]] = field(default_factory=dict)

    def answer(self, protocol: Protocol, question: "Question") -> list[Any]:
        """The results for an image, from the disk where it was asked before."""
        from napari_sam.evaluation.exams import exam_of

        exam = exam_of(protocol)
        if self.store is None:
            return self.ask(exam, question)
        if protocol not in self.known:
            self.known[protocol] = self.store.read(protocol, self.kind(exam))
        key = _key(question, self.name == CLASSICAL)
        if key not in self.known[protocol]:
            self.known[protocol][key] = self.ask(exam, question)
            self.store.add(protocol, key, self.known[protocol][key])
        return self.known[protocol][key]


def _asker(contender: "Contender", folder: Path | None, params: EvaluationParams) -> _Asker:
    load = cache(contender.load)

    def ask(exam: "Exam", question: "Question") -> list[Any]:
        return exam.ask(load(), question)

    store = _open(folder, contender.name, {**contender.about, **_settings(params)})
    return _Asker(contender.name, ask, lambda exam: exam.result, store)


def _classical_asker(folder: Path | None, params: EvaluationParams) -> _Asker:
    about = {"napari-sam": napari_sam.__version__, **_settings(params)}

    def ask(exam: "Exam", question: "Question") -> list[Any]:
        return exam.ask_classical(question)

    return _Asker(CLASSICAL, ask, lambda e: e.classical_result, _open(folder, CLASSICAL, about))


def _open(folder: Path | None, name: str, about: Mapping[str, object]) -> "ResultStore | None":
    from napari_sam.evaluation.results import open_results

    return open_results(folder, name, about) if folder else None


def _settings(params: EvaluationParams) -> dict[str, object]:
    return {name: getattr(params, name) for name in ASKED}


def _now() -> dict[str, object]:
    return {
        "python": platform.python_version(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _ask_all(
    asker: _Asker,
    tasks: Sequence[_Task],
    params: EvaluationParams,
    source: "Source",
    steps: tuple[int, int],
    origins: dict[str, str],
) -> Generator[Progress, None, Answers]:
    """All answers of one, by protocol; ``steps`` are those done before, and all."""
    from napari_sam.evaluation.exams import Question, exam_of
    from napari_sam.evaluation.groups import group_of

    before, total = steps
    found: Answers = {}
    for done, task in enumerate(tasks, before):
        yield Progress(done, total, f"{asker.name}, {task.protocol}: {task.item['id']}")
        for sample in exam_of(task.protocol).samples(source, task.item, params):
            origins[sample.name] = str(task.item["gt_origin"])
            question = Question(sample, group_of(task.item), params, task.walkers)
            found.setdefault(task.protocol, []).extend(asker.answer(task.protocol, question))
    yield Progress(before + len(tasks), total)
    return found


def _sections(
    found: Mapping[str, Answers],
    classical: Answers,
    origins: Mapping[str, str],
    params: EvaluationParams,
) -> "Iterator[Section]":
    from napari_sam.evaluation.exams import Findings, exam_of

    for protocol in params.protocols:
        by_model = {name: answers.get(protocol, []) for name, answers in found.items()}
        if all(by_model.values()):
            about = Findings(by_model, classical.get(protocol, []), origins, params)
            yield exam_of(protocol).section(about)


def _tasks(source: "Source", params: EvaluationParams) -> Iterator[_Task]:
    from napari_sam.evaluation.exams import exam_of

    for protocol in params.protocols:
        wanted = [item for item in source.items if exam_of(protocol).wants(item)]
        chosen = _thin_out(wanted, params.images_per_group)
        for item, quota in _with_quota(chosen, params.walker_objects):
            yield _Task(protocol, item, quota)


def _key(question: "Question", with_walkers: bool) -> str:
    """An image's name with hashes of what is asked about, so that a changed image is asked anew."""
    sample = question.sample
    sums = [zlib.crc32(array.tobytes()) for array in (sample.picture, sample.labels)]
    key = f"{sample.name} {sums[0]:08x} {sums[1]:08x}"
    return f"{key} {question.walkers}" if with_walkers else key


def _with_quota(items: "Sequence[Item]", total: int) -> "Iterator[tuple[Item, int]]":
    """Each item with its even share of ``total`` among the items of its group."""
    from napari_sam.evaluation.groups import group_of

    counts = Counter(group_of(item) for item in items)
    seen: Counter[str] = Counter()
    for item in items:
        group = group_of(item)
        seen[group] += 1
        upto = [total * k // counts[group] for k in (seen[group] - 1, seen[group])]
        yield item, upto[1] - upto[0]


def _thin_out(items: "Sequence[Item]", most: int | None) -> "list[Item]":
    """At most ``most`` items of each group, evenly spread over its list."""
    return [item for item, quota in _with_quota(items, most or len(items)) if quota]
