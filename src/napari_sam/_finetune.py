"""The tab Fine-tune: what to learn from, how, and how the run stands. No Qt, no napari.

The panel and whoever knows layers talk to this state. Training itself is another program; what
starts and watches it is in ``_finetune_job.py``.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from psygnal import Signal

from napari_sam._pace import Pace
from napari_sam._predict import Plane
from napari_sam._session import Session
from napari_sam.core.registered import all_models, check_name
from napari_sam.errors import NapariSamError
from napari_sam.progress import Progress
from napari_sam.training import run_folder
from napari_sam.training.params import FinetuneParams
from napari_sam.training.run_folder import RunReport, runs_folder

Data = Literal["layers", "folder"]
NO_PAIRS = (
    "Nothing to learn from: open an image with a Labels layer of the same size, each object"
    " one number, or choose a folder."
)
NO_FOLDER = "Choose a folder first: images/a.tif with labels/a.tif, or an OME-Zarr with labels."


@dataclass(frozen=True, eq=False)
class LabelledLayer:
    """An image layer and the Labels layer that lies on it, to be read in another thread.

    Attributes
    ----------
    token
        Of the Labels layer.
    name
        For the user, and for the files that are written.
    image
        A plane of the image; which one does not matter.
    labels
        Array of any library, of the image's axes without colours.
    """

    token: str
    name: str
    image: Plane
    labels: Any


@dataclass(frozen=True)
class FinetuneSettings:
    """What the user has chosen.

    Attributes
    ----------
    name
        Of the model that is made.
    data
        Learn from the layers that are open, or from a folder.
    folder
        A folder of labelled images, a pack, or an OME-Zarr image with labels.
    scope
        What learns: ``decoder``, ``lora``, ``all``.
    minutes
        Most minutes of training.
    replace_old
        Whether a model of this name that was made here gives way.
    """

    name: str = "my-cells"
    data: Data = "layers"
    folder: str = ""
    scope: Literal["decoder", "lora", "all"] = "decoder"
    minutes: float = FinetuneParams.minutes
    replace_old: bool = False


@dataclass(frozen=True)
class FinetuneOrder:
    """A run that is to be started, or to go on.

    Attributes
    ----------
    settings
        As chosen.
    base, weights
        The model to begin with, and a file of its weights where they are not its own.
    pairs
        Layers to learn from; empty for a folder, and for a run whose images are written already.
    """

    settings: FinetuneSettings
    base: str
    weights: str | None = None
    pairs: tuple[LabelledLayer, ...] = ()

    @property
    def name(self) -> str:
        """Of the model that is made."""
        return self.settings.name

    @property
    def folder(self) -> Path:
        """Of the run."""
        return runs_folder() / self.name

    @property
    def images(self) -> Path:
        """What the run learns from."""
        own = self.folder / "data"
        return own if self.settings.data == "layers" else Path(self.settings.folder)

    def to_json(self) -> dict[str, Any]:
        """What it takes to go on with the run in another sitting."""
        return {"settings": asdict(self.settings), "base": self.base, "weights": self.weights}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> "FinetuneOrder":
        """The order of a run that was begun in another sitting."""
        return cls(FinetuneSettings(**said["settings"]), said["base"], said["weights"])


class Finetune:
    """State of the tab of one dock.

    Parameters
    ----------
    session
        Of the same dock: gives the model to begin with, gets the one that is made.
    """

    changed = Signal()  # settings, layers or runs
    progressed = Signal()
    order_requested = Signal(object)  # FinetuneOrder
    cancel_requested = Signal()

    def __init__(self, session: Session) -> None:
        self.session = session
        self.settings = FinetuneSettings()
        self.pairs: tuple[LabelledLayer, ...] = ()
        self.left_out: frozenset[str] = frozenset()  # tokens
        self.report: RunReport | None = None
        self.order: FinetuneOrder | None = None
        self.busy = self.paused = False
        self.pace = Pace()
        self.said = ""
        self.find_pairs: Callable[[], tuple[LabelledLayer, ...]] = tuple
        session.model_changed.connect(self.changed.emit)
        session.layers_changed.connect(self.look)

    # --- what is chosen ----------------------------------------------------------------------

    def change(self, **changes: Any) -> None:
        """Set something of the settings by its name."""
        self.settings = replace(self.settings, **changes)
        self.changed.emit()

    def look(self) -> None:
        """Find the layers that can be learned from."""
        self.pairs = self.find_pairs()
        self.changed.emit()

    def take(self, token: str, wanted: bool) -> None:
        """Learn from a layer, or leave it out."""
        self.left_out = self.left_out - {token} if wanted else self.left_out | {token}
        self.changed.emit()

    @property
    def chosen(self) -> tuple[LabelledLayer, ...]:
        """The layers that are learned from."""
        return tuple(pair for pair in self.pairs if pair.token not in self.left_out)

    @property
    def unfinished(self) -> tuple[str, ...]:
        """Names of runs that can go on."""
        working = self.order.name if self.busy and self.order else None
        return tuple(name for name in run_folder.unfinished() if name != working)

    # --- the run -----------------------------------------------------------------------------

    def start(self) -> None:
        """Begin a new run, if all that it needs is there."""
        session, settings = self.session, self.settings
        if self.busy:
            return
        try:
            check_name(settings.name, replace_old=settings.replace_old)
        except NapariSamError as error:
            self._say(f"Not started: {error}")
            return
        if settings.name in run_folder.unfinished():
            self._say(
                f"Not started: a run {settings.name!r} was stopped before its end. Resume it,"
                " delete it, or choose another name."
            )
        elif settings.data == "layers" and not self.chosen:
            self._say(NO_PAIRS)
        elif settings.data == "folder" and not settings.folder:
            self._say(NO_FOLDER)
        elif not session.weights_here:
            self._say(f"The weights of {session.spec.title} are not here: press Download first.")
        else:
            run_folder.forget(settings.name)  # of an older model of this name
            pairs = self.chosen if settings.data == "layers" else ()
            weights = session.model.weights
            self._begin(
                FinetuneOrder(
                    settings,
                    session.model.name,
                    None if weights is None else str(weights),
                    pairs,
                )
            )

    def resume(self, name: str) -> None:
        """Go on with a run of this or of an earlier sitting."""
        said = run_folder.unfinished().get(name)
        if said is None or self.busy:
            return
        try:
            order = FinetuneOrder.from_json(said)
        except (KeyError, TypeError) as error:
            self._say(f"The run {name!r} cannot be read ({error!r}): delete it and start anew.")
            return
        if order.settings.data == "layers" and not order.images.exists():
            self._say(f"The images of {name!r} were never written: delete it and start anew.")
            return
        self._begin(order)

    def delete(self, name: str) -> None:
        """Forget a run that was stopped."""
        if name in self.unfinished:
            run_folder.forget(name)
            self._say(f"The run {name!r} is deleted.")

    def _begin(self, order: FinetuneOrder) -> None:
        self.order, self.report, self.paused = order, None, False
        self.pace.begin()
        run_folder.write_json(order.folder / run_folder.ORDER, order.to_json())
        run_folder.pause(order.folder, False)
        self.said = "Starting ..."
        self.order_requested.emit(order)

    def set_paused(self, wanted: bool) -> None:
        """Let the run wait, or go on."""
        if self.order is not None and self.busy:
            run_folder.pause(self.order.folder, wanted)
            self.paused = wanted
            self.pace.begin()
            self._say("Paused: after the step that it is at." if wanted else "Going on ...")
            self.progressed.emit()

    def cancel(self) -> None:
        """Stop the run; it can be resumed."""
        self._say("Stopping: what was learned is being kept ...")
        self.cancel_requested.emit()

    # --- what the job tells ------------------------------------------------------------------

    def set_job(self, *, busy: bool) -> None:
        """Whether a run is at work."""
        self.busy = busy
        self.changed.emit()
        self.progressed.emit()

    def accept(self, progress: Progress) -> None:
        """How the run stands; the same as before is told again while there is nothing new."""
        if progress is self.report:
            return
        if not isinstance(progress, RunReport):  # the program has not begun
            progress = RunReport(progress.done, progress.total, progress.message)
        self.report = progress
        self.pace.note(progress)
        if not self.paused:
            self.said = progress.message
        self.progressed.emit()

    def finished(self, report: RunReport) -> None:
        """The run has ended well: its model is chosen."""
        self.report, result = report, report.result or {}
        name = result.get("name")
        if name is None:
            self._say(
                "Nothing was better than what it began with, so no model was made. More labelled"
                " objects, other images or more minutes may help."
            )
        elif name in all_models():
            self.session.choose_model(replace(self.session.model, name=name, weights=None))
            self._say(f"The model {name!r} is ready and chosen: click on an object.")
        self.changed.emit()

    def failed(self, message: str) -> None:
        """The run has ended with an error."""
        self._say(f"Fine-tuning failed: {message}")

    def cancelled(self) -> None:
        """The user has stopped the run."""
        self._say("Stopped. What was learned stays: Resume goes on from there.")
        self.changed.emit()

    def _say(self, message: str) -> None:
        self.said = message
        self.session.say(message)
        self.progressed.emit()

    def close(self) -> None:
        """Disconnect everybody: the window is gone."""
        for name, value in vars(type(self)).items():
            if isinstance(value, Signal):
                getattr(self, name).disconnect()


def figures(report: RunReport | None) -> list[tuple[str, float, float]]:
    """What a result says of the images set aside: (prompt, mean IoU before, after)."""
    result = report.result if report is not None else None
    if result is None:
        return []
    before, after = result["before"], result["after"]
    titles = {"click": "1 click", "last_click": "3 clicks", "box": "box"}
    return [(title, before[name], after[name]) for name, title in titles.items()]
