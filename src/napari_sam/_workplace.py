"""What is worked on and with: image, output, plane, model, intensity; messages and jobs.

The part of a session that knows no prompts and no masks. No Qt, no napari.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from psygnal import Signal

from napari_sam._journal import Source
from napari_sam._predict import ModelChoice, Plane
from napari_sam._source import can_take_journals
from napari_sam.core.intensity import Intensity
from napari_sam.core.registry import ModelSpec, get_spec
from napari_sam.core.weights import find
from napari_sam.progress import Progress

IntensityChoice = Literal["percentile", "per-channel", "contrast limits", "fixed", "as_is"]
LARGE_SIDE = 4096  # pixels
READY = "Click on an object, or draw a box around it."


@dataclass(frozen=True)
class LayerRef:
    """A layer as the panels see it: a token that stays and a name that may change."""

    token: str
    name: str


class Workplace:
    """What is worked on. Each dock has its own; none is shared."""

    layers_changed = Signal()
    source_changed = Signal(object)  # Source
    projects_changed = Signal()
    model_changed = Signal()
    intensity_changed = Signal()
    channels_changed = Signal()
    message_changed = Signal(str)
    job_changed = Signal()
    cancel_requested = Signal()
    download_requested = Signal(object)  # ModelSpec
    picture_requested = Signal(object, object)  # Plane, Intensity

    def __init__(self, model: ModelChoice | None = None, *, weights_needed: bool = True) -> None:
        self.images: tuple[LayerRef, ...] = ()
        self.outputs: tuple[LayerRef, ...] = ()
        self.projects: Path | None = None  # the user's folder for journals; None: beside the image
        self.image: str | None = None
        self.output: str | None = None
        self.model = model or ModelChoice()
        self.runtime = ""
        self.intensity: IntensityChoice = "percentile"
        self.contrast_limits: tuple[float, float] | None = None
        self.fixed_range: tuple[float, float] | None = None
        self.channels: str | None = None
        self.channel_options: tuple[tuple[str, str], ...] = ()
        self.plane: Plane | None = None
        self.no_plane = READY
        self.tiled = False  # clicks see their tile, at full resolution
        self.message = READY
        self.busy = False
        self.progress: Progress | None = None
        self._weights_needed = weights_needed

    # --- to be filled in by the session ------------------------------------------------------

    def refresh(self) -> None:
        """Something that the masks depend on has changed."""

    def _begin_image(self) -> None:
        """Another image is worked on."""

    def _begin_output(self) -> None:
        """Another output is drawn on."""

    # --- layers ------------------------------------------------------------------------------

    def set_layers(self, images: tuple[LayerRef, ...], outputs: tuple[LayerRef, ...]) -> None:
        """The layers that can be chosen now; a chosen one that is gone is given up."""
        self.images, self.outputs = images, outputs
        if self.image not in {ref.token for ref in images}:
            self.image = images[-1].token if images else None
            self._begin_image()
        elif self.output is not None and self.output not in {ref.token for ref in outputs}:
            self.output = None
            self._begin_output()
        self.layers_changed.emit()

    def choose_image(self, token: str | None) -> None:
        """Work on another image layer; prompts of the old one are dropped."""
        if token != self.image:
            self.image = token
            self._begin_image()
            self.layers_changed.emit()

    def choose_output(self, token: str | None) -> None:
        """Commit to this Labels layer; None makes a new one at the first commit."""
        if token != self.output:
            self.output = token
            self._begin_output()
            self.layers_changed.emit()

    def set_source(self, source: Source) -> None:
        """The image that is worked on, as a journal knows it."""
        self.source_changed.emit(source)

    def set_projects(self, folder: Path | None) -> None:
        """Keep journals in this folder, or beside the image (None)."""
        usable = folder is None or can_take_journals(folder)
        wanted = folder if usable else None
        if wanted != self.projects:
            self.projects = wanted
            self.projects_changed.emit()
        if not usable:
            self.say(f"{folder} is no folder that can be written: journals go beside the image.")

    # --- model and intensity -----------------------------------------------------------------

    def choose_model(self, choice: ModelChoice) -> None:
        """Use another model from the next prediction on."""
        if choice != self.model:
            self.model, self.runtime = choice, ""
            self.model_changed.emit()
            self.refresh()

    @property
    def spec(self) -> ModelSpec:
        """Registry entry of the chosen model."""
        return get_spec(self.model.name)

    @property
    def weights_here(self) -> bool:
        """Whether the model can run without a download."""
        if not self._weights_needed or self.model.weights is not None:
            return True
        return find(self.spec) is not None

    def request_download(self) -> None:
        """Fetch the chosen model's weights: only ever on the user's word."""
        self.download_requested.emit(self.spec)

    def downloaded(self) -> None:
        """The weights have come: go on with what waits for them."""
        self.say(f"{self.spec.title} is ready.")
        self.model_changed.emit()
        self.refresh()

    def set_runtime(self, line: str) -> None:
        """What the model has run on."""
        if line != self.runtime:
            self.runtime = line
            self.model_changed.emit()

    def choose_intensity(self, choice: IntensityChoice) -> None:
        """Change how pixel values become what the model sees."""
        if choice not in get_args(IntensityChoice):
            raise ValueError(f"intensity is {choice!r}; it must be of {get_args(IntensityChoice)}.")
        if choice != self.intensity:
            self.intensity = choice
            if choice == "fixed" and self.fixed_range is None:
                self.fixed_range = self.contrast_limits or (0.0, 255.0)
            self.intensity_changed.emit()
            self.refresh()

    def set_fixed_range(self, low: float, high: float) -> None:
        """The range of pixel values for the choice "fixed": black and white of the model."""
        if not low < high:
            self.say(f"The lowest value must be below the highest; they were {low:g} and {high:g}.")
        elif (low, high) != self.fixed_range:
            self.fixed_range = (low, high)
            self.intensity_changed.emit()
            if self.intensity == "fixed":
                self.refresh()

    def intensity_value(self) -> Intensity:
        """The choice as core takes it. Colour images have no contrast limits: percentiles then."""
        if self.intensity == "contrast limits":
            return self.contrast_limits or "percentile"
        if self.intensity == "fixed":
            return self.fixed_range or "percentile"
        return self.intensity

    # --- channels ----------------------------------------------------------------------------

    def set_channel_options(self, options: tuple[tuple[str, str], ...]) -> None:
        """What can be mixed with the image, as (key, title); a choice that is gone is given up."""
        if options != self.channel_options:
            self.channel_options = options
            if self.channels is not None and self.channels not in dict(options):
                self.channels = None
            self.channels_changed.emit()

    def choose_channels(self, key: str | None) -> None:
        """Let the model see more channels than the one in view; None: only that."""
        if key != self.channels:
            self.channels = key
            self.channels_changed.emit()

    def request_picture(self) -> None:
        """Ask for a layer that shows what the model sees."""
        if self.plane is None:
            self.say(self.no_plane)
        else:
            self.picture_requested.emit(self.plane, self.intensity_value())

    # --- jobs and messages -------------------------------------------------------------------

    def set_job(self, *, busy: bool, progress: Progress | None = None) -> None:
        """What the workers report."""
        self.busy, self.progress = busy, progress if busy else None
        self.job_changed.emit()

    def say(self, message: str) -> None:
        """Tell the user."""
        self.message = message
        self.message_changed.emit(message)

    def close(self) -> None:
        """Disconnect everybody: the window is gone."""
        for kind in type(self).__mro__:
            for name, value in vars(kind).items():
                if isinstance(value, Signal):
                    getattr(self, name).disconnect()


def size_note(size: tuple[int, int]) -> str:
    """What to know about a plane that the model can only see much reduced."""
    if max(size) <= LARGE_SIDE:
        return ""
    return (
        f"This image is {size[0]} x {size[1]}: the model sees it much reduced, small objects may be"
        " missed. A crop works better."
    )
