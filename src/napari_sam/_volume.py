"""The tab Volume: how planes are cut, what is asked of jobs, how far they are. No Qt, no napari.

Panel and layers talk to this state; it talks to the session (plane, model, messages). All methods
are called in the window's thread.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_sam._bulk import Bulk
from napari_sam._everything import Everything
from napari_sam._pace import Pace
from napari_sam._predict import Origin, Plane
from napari_sam._session import Session
from napari_sam._volume_source import TileSettings, TileSetup, VolumeSource
from napari_sam.core.params import AutomaticParams
from napari_sam.core.regions import Region
from napari_sam.progress import Progress

Task = Literal["look", "segment"]
Scope = Literal["view", "plane", "volume"]
LARGEST_PART = 4096  # pixels a side that are segmented as one step that can be undone
NO_SOURCE = "Open an image first: File > Open."
ZOOM_IN = f"More than {LARGEST_PART} pixels a side are in view: zoom in, or segment the volume."


@dataclass(frozen=True, eq=False)
class TileTask:
    """What a job is to do with tiles.

    Attributes
    ----------
    task
        Look at tiles, to be ready for clicks; or find all objects in them.
    scope
        The part of the plane in view, all of that plane, or all planes.
    plane
        The plane in view.
    region
        The part of it that is in view, in pixels of the finest level.
    params, least_area
        Of automatic segmentation: those of the tab Everything.
    name
        Of the labels of a whole volume.
    """

    task: Task
    scope: Scope
    setup: TileSetup
    plane: Plane
    region: Region
    params: AutomaticParams
    least_area: int
    name: str

    @property
    def place(self) -> tuple[int, int]:
        """(t, z) of the plane in view."""
        found = self.setup.source.at(self.plane)
        assert found is not None
        return found[0]


@dataclass(frozen=True, eq=False)
class Found:
    """Objects of a part of a plane; are :class:`~napari_sam._bulk.Masks`.

    Attributes
    ----------
    plane, region
        Where: rows and columns in pixels of the finest level.
    labels
        (y, x) numbers 1 to n in it.
    scores
        n times not a number: labels of tiles have none.
    origin
        What they were made by.
    """

    plane: Plane
    region: Region
    labels: NDArray[np.uint32]
    scores: tuple[float, ...]
    origin: Origin

    def canvas(self) -> NDArray[np.uint32]:
        """The labels."""
        return self.labels

    def beneath(self, canvas: NDArray[Any]) -> dict[int, NDArray[np.bool_]]:
        """Nothing: labels do not lie on each other."""
        return {}


@dataclass(frozen=True, eq=False)
class TileMap:
    """Which tiles of a plane have been looked at.

    Attributes
    ----------
    plane
        The plane.
    done
        (rows, columns) of tiles.
    rows, columns
        Where the tiles begin, and the end of the last one: pixels of the finest level.
    """

    plane: Plane
    done: NDArray[np.bool_]
    rows: tuple[int, ...]
    columns: tuple[int, ...]


class Volume:
    """State of the tab of one dock.

    Parameters
    ----------
    session, everything, bulk
        Of the same dock.
    """

    changed = Signal()  # source, settings or name
    progressed = Signal()
    map_changed = Signal()
    map_wanted = Signal()
    task_requested = Signal(object)  # TileTask
    cancel_requested = Signal()
    open_requested = Signal(str)  # path of a label image
    paint_requested = Signal()

    def __init__(self, session: Session, everything: Everything, bulk: Bulk) -> None:
        self.session, self.bulk = session, bulk
        self.everything = everything
        self.source: VolumeSource | None = None
        self.settings = TileSettings()
        self.name = "cells"
        self.progress: Progress | None = None
        self.busy = False
        self.map: TileMap | None = None
        self.show_map = True
        self.kept_in = ""  # folder of the labels that are drawn on
        self.view: Callable[[], Region | None] = lambda: None
        self.find_source: Callable[[], VolumeSource | None] = lambda: self.source
        self._pace = Pace()
        session.model_changed.connect(self.changed.emit)

    # --- what is worked on -------------------------------------------------------------------

    def set_source(self, source: VolumeSource | None) -> None:
        """Another image is worked on."""
        self.source, self.map, self.kept_in = source, None, ""
        if source is not None and self.settings.level >= len(source.levels):
            self.settings = replace(self.settings, level=0)
        self._tell()

    def change(self, **changes: Any) -> None:
        """Set something of the settings by its name."""
        settings = replace(self.settings, **changes)
        if settings != self.settings:
            self.settings, self.map = settings, None
            self._tell()

    def rename(self, name: str) -> None:
        """Name of the labels that are made."""
        self.name = name.strip() or "cells"
        self.changed.emit()

    def set_kept_in(self, path: str) -> None:
        """Where the objects lie on disk."""
        self.kept_in = path
        self.changed.emit()

    def set_show_map(self, show: bool) -> None:
        """Whether tiles that have been looked at are framed."""
        self.show_map = show
        self.map_changed.emit()
        if show:
            self.map_wanted.emit()

    def _tell(self) -> None:
        self.session.tiled = self.tiled
        self.changed.emit()
        self.map_changed.emit()
        self.map_wanted.emit()
        if self.session.prompts:
            self.session.refresh()

    @property
    def tiled(self) -> bool:
        """Whether clicks work in tiles."""
        return self.source is not None and self.settings.wanted(self.source)

    def setup(self, plane: Plane | None) -> TileSetup | None:
        """What tiles of a plane are; None where its clicks do not work in tiles."""
        return self._setup(plane) if self.tiled else None

    def _setup(self, plane: Plane | None) -> TileSetup | None:
        if plane is None:
            return None
        if self.source is not None and plane.key[:3] != self.source.key:  # type: ignore[index]
            self.source = self.find_source()  # its pixels were replaced or edited
        if self.source is None:
            return None
        place = self.source.at(plane)
        if place is None:  # another view than y, x
            return None
        session = self.session
        return TileSetup(
            self.source, self.settings, session.model, session.intensity_value(), place[1]
        )

    # --- jobs --------------------------------------------------------------------------------

    def run(self, task: Task, scope: Scope) -> None:
        """Have tiles looked at, or segmented; the last one of these goes on where it stopped."""
        session = self.session
        setup = self._setup(session.plane)
        if session.plane is None or setup is None:
            session.say(session.no_plane if session.plane is None else NO_SOURCE)
            return
        if not session.weights_here:
            session.say(f"The weights of {session.spec.title} are not here: press Download first.")
            return
        region = self._region(scope)
        largest = max(part.stop - part.start for part in region)
        if scope == "view" and task == "segment" and largest > LARGEST_PART:
            session.say(ZOOM_IN)
            return
        chosen = self.everything.settings
        self._pace.begin()
        self.task_requested.emit(
            TileTask(task, scope, setup, session.plane, region, chosen.params,
                     chosen.least_area, self.name)
        )  # fmt: skip

    def _region(self, scope: Scope) -> Region:
        assert self.source is not None
        height, width = self.source.size
        whole = (slice(0, height), slice(0, width))
        return (self.view() or whole) if scope == "view" else whole

    def cancel(self) -> None:
        """Stop the job; what is done stays."""
        self.cancel_requested.emit()

    def set_job(self, *, busy: bool, progress: Progress | None = None) -> None:
        """What the worker reports."""
        if not busy:
            self._pace.begin()
        elif progress is not None:
            self._pace.note(progress)
        self.busy, self.progress = busy, progress if busy else None
        self.progressed.emit()

    @property
    def time_left(self) -> float | None:
        """Seconds that the job still needs, as far as can be told."""
        return self._pace.left

    def accept_part(self, found: Found) -> None:
        """Objects of a part of the plane: new labels, as one step."""
        if not found.scores:
            self.session.say("Nothing was found there: other settings in the tab Everything may.")
            return

        def kept(numbers: list[int]) -> None:
            self.session.say(f"{len(numbers)} objects found and kept. Ctrl+Z takes them back.")

        self.bulk.keep(found, kept, overwrite=self.everything.settings.replace)

    def accept_map(self, made: TileMap) -> None:
        """Which tiles are done; dropped if another plane is in view by now."""
        if self.session.plane is not None and made.plane.key == self.session.plane.key:
            self.map = made
            self.map_changed.emit()

    def finished(self, text: str, path: str | None = None) -> None:
        """A job has ended well; labels that it has made are shown."""
        self.session.say(text)
        if path is not None:
            self.open_requested.emit(path)

    def cancelled(self) -> None:
        """The user has stopped the job."""
        self.session.say("Stopped. What is done stays: the same button goes on from there.")

    def paint(self) -> None:
        """Let the brush draw on stored labels, in the part in view."""
        self.paint_requested.emit()

    def close(self) -> None:
        """Disconnect everybody: the window is gone."""
        for name, value in vars(type(self)).items():
            if isinstance(value, Signal):
                getattr(self, name).disconnect()


def edges(starts: Sequence[int], end: int, factor: float) -> tuple[int, ...]:
    """Borders of tiles in pixels of the finest level."""
    return tuple(round(start * factor) for start in [*starts, end])
