"""The dock: builds session, panels, jobs and connections, and nothing else."""

from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.notifications import show_error
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_sam._bulk import Bulk, BulkRequest, keep_all
from napari_sam._everything import Everything
from napari_sam._filing import Filing, LoadRequest, SaveRequest, load, save
from napari_sam._finetune import Finetune
from napari_sam._jobs import LatestJob
from napari_sam._journal import Journal, Lines, Source
from napari_sam._keeper import Keeper, bring_back, look, sync
from napari_sam._layers.binding import Binding
from napari_sam._layers.candidates import CandidateLayer
from napari_sam._layers.colours import ClassColours
from napari_sam._layers.finetune import FinetuneLayers
from napari_sam._layers.output import space_of
from napari_sam._layers.propagating import PropagatingLayers
from napari_sam._layers.review import ReviewKeys
from napari_sam._layers.series import SeriesLayers
from napari_sam._layers.settings import Settings
from napari_sam._layers.tracks import TrackLayers
from napari_sam._layers.volume import VolumeLayers
from napari_sam._long_jobs import LongJobs
from napari_sam._panels.everything import EverythingPanel
from napari_sam._panels.files import FilesPanel
from napari_sam._panels.finetune import FinetunePanel
from napari_sam._panels.image import ImagePanel
from napari_sam._panels.job import JobPanel
from napari_sam._panels.journal import JournalPanel
from napari_sam._panels.keys import KeysPanel
from napari_sam._panels.mask import MaskPanel
from napari_sam._panels.model import ModelPanel
from napari_sam._panels.objects import ObjectsPanel
from napari_sam._panels.pages import Pages
from napari_sam._panels.prompt import PromptPanel
from napari_sam._panels.propagate import PropagatePanel
from napari_sam._panels.restore import RestorePanel
from napari_sam._panels.rows import column
from napari_sam._panels.series import SeriesPanel
from napari_sam._panels.tracks import TracksPanel
from napari_sam._panels.volume import VolumePanel
from napari_sam._predict import (
    EmbeddingCache,
    Load,
    ModelChoice,
    Plane,
    PredictRequest,
    predict,
    predictors,
)
from napari_sam._preferences import Followers, Preferences
from napari_sam._propagating import Propagating
from napari_sam._review import Review
from napari_sam._series import Series
from napari_sam._session import Session
from napari_sam._sweep import ChooseRequest, SweepRequest, choose, sweep
from napari_sam._tracks import Tracks
from napari_sam._volume import Volume
from napari_sam._volume_jobs import VolumeJobs
from napari_sam.core.intensity import Intensity, to_picture
from napari_sam.core.registry import ModelSpec
from napari_sam.core.weights import download
from napari_sam.progress import Progress

if TYPE_CHECKING:
    import napari.viewer

LEAST_WIDTH = 310  # the dock's own title fits


class SegmentAnything(QWidget):
    """Click on objects of an image; they become labels.

    Parameters
    ----------
    viewer
        The napari viewer; napari passes it.
    load
        Gives the predictor of a model; for tests. The default loads from the registry.
    model
        The model to begin with.
    """

    def __init__(
        self,
        viewer: "napari.viewer.Viewer",
        *,
        load: Load | None = None,
        model: ModelChoice | None = None,
    ) -> None:
        super().__init__()
        self._settings = Settings(self._on_settings)
        wanted = self._settings.now
        self.session = Session(model or ModelChoice(name=wanted.model), weights_needed=load is None)
        self.everything = Everything(self.session)
        self.bulk = Bulk(self.session)
        self.review = Review(self.session)
        self.keeper = Keeper(self.session)
        self.volume = Volume(self.session, self.everything, self.bulk)
        self.finetune = Finetune(self.session)
        self.propagating = Propagating(self.session)
        self.tracks = Tracks(self.session)
        self.filing = Filing(self.session, space_of)
        self.series = Series(self.keeper, self.filing)
        self._followers = Followers(self.session, self.review, self.series)
        self._followers.begin(wanted)
        self._load = load or predictors
        self._cache = EmbeddingCache()
        self._docked = False
        self._build()
        self.clicks, self.downloads, self.pictures = (LatestJob(self) for _ in range(3))
        self.sweeps, self.choices = (LatestJob(self) for _ in range(2))
        self.looks, self.restores, self.syncs = (LatestJob(self) for _ in range(3))
        self.volume_jobs = VolumeJobs(self.volume, self.clicks, self._load, self)
        self.saves, self.loads, self.keeps = (LatestJob(self) for _ in range(3))
        self.long_jobs = LongJobs(self.propagating, self.tracks, self.finetune, self._load, self)
        self._connect()
        self._connect_everything()
        self._connect_keeper()
        self._connect_filing()
        later = partial(QTimer.singleShot, 1)  # 0 would go before the mouse and the keys
        self._binding = Binding(viewer, self.session, later=later)
        self._candidates = CandidateLayer(self._binding, self.everything, self.bulk, later=later)
        self._review_keys = ReviewKeys(viewer, self._binding, self.review)
        self._volume_layers = VolumeLayers(viewer, self._binding, self.volume)
        self._finetune_layers = FinetuneLayers(viewer, self._binding, self.finetune)
        self._track_layers = TrackLayers(viewer, self._binding, self.tracks)
        self._propagating_layers = PropagatingLayers(viewer, self._binding, self.propagating)
        self._class_colours = ClassColours(self.review)
        self._series_layers = SeriesLayers(viewer, self._binding, self.series)
        # The C++ side is gone by then: neither panels nor viewer may be touched.
        states = (
            self._settings,
            self.series,
            self.keeper,
            self.filing,
            self.finetune,
            self.propagating,
            self.tracks,
            self.session,
            self.everything,
            self.bulk,
            self.review,
            self.volume_jobs,
        )
        self.destroyed.connect(partial(_let_go, states, self._binding, self._jobs))

    def _on_settings(self, before: Preferences, after: Preferences) -> None:
        self._followers.change(before, after)

    @property
    def _jobs(self) -> tuple[LatestJob, ...]:
        own = (self.looks, self.syncs, *self.long_jobs.all, *self.volume_jobs.all)
        return (*self._heard, *own)

    @property
    def _heard(self) -> tuple[LatestJob, ...]:
        """The jobs that the user waits for, and hears of."""
        return (
            self.clicks,
            self.downloads,
            self.pictures,
            self.sweeps,
            self.choices,
            self.restores,
            self.saves,
            self.loads,
            self.keeps,
        )

    def shut(self) -> None:
        """Stop the work and leave the viewer; the Labels stay."""
        for job in self._jobs:
            job.close()
        self.volume_jobs.close()
        self._volume_layers.close()
        self._settings.close()
        self._binding.close()
        self.volume.close()
        self.finetune.close()
        self.propagating.close()
        self.tracks.close()
        self.keeper.close()
        self.series.close()
        self.filing.close()
        self.everything.close()
        self.bulk.close()
        self.review.close()
        self.session.close()

    def event(self, event: QEvent | None) -> bool:
        """Notice when napari takes the dock away: it unparents the widget and tells nobody."""
        if event is not None and event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self._docked = True
            elif self._docked:
                self.shut()
        return bool(super().event(event))

    def _build(self) -> None:
        session = self.session
        self.image_panel = ImagePanel(session)
        self.model_panel = ModelPanel(session)
        self.prompt_panel = PromptPanel(session)
        self.mask_panel = MaskPanel(session)
        self.everything_panel = EverythingPanel(self.everything)
        self.objects_panel = ObjectsPanel(self.review)
        self.job_panel = JobPanel(session)
        self.restore_panel = RestorePanel(self.keeper)
        self.files_panel = FilesPanel(self.filing)
        self.series_panel = SeriesPanel(self.series)
        self.journal_panel = JournalPanel(self.keeper)
        self.setMinimumWidth(LEAST_WIDTH)
        self.tabs = Pages()
        self.tabs.addTab(column(self.prompt_panel, self.mask_panel), "Click")
        self.tabs.addTab(self.everything_panel, "Everything")
        self.tabs.addTab(self.objects_panel, "Objects")
        self.volume_panel = VolumePanel(self.volume)
        self.tabs.addTab(self.volume_panel, "Volume")
        self.propagate_panel = PropagatePanel(self.propagating)
        self.tracks_panel = TracksPanel(self.tracks)
        self.stack_tab = column(self.propagate_panel, self.tracks_panel)
        self.tabs.addTab(self.stack_tab, "3D / time")
        self.finetune_panel = FinetunePanel(self.finetune)
        self.tabs.addTab(self.finetune_panel, "Fine-tune")
        self.tabs.addTab(column(self.files_panel, self.series_panel, self.journal_panel), "Files")
        self.tabs.addTab(column(KeysPanel()), "Keys")
        self.tabs.currentChanged.connect(self._on_tab)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 10, 4, 4)
        for panel in (self.restore_panel, self.image_panel, self.model_panel):
            layout.addWidget(panel)
        layout.addWidget(self.tabs, 1)
        layout.addWidget(self.job_panel)

    def _connect(self) -> None:
        session = self.session
        session.requested.connect(self._on_request)
        session.download_requested.connect(self._on_download)
        session.picture_requested.connect(self._on_picture)
        session.cancel_requested.connect(self._on_cancel)
        for job in self._heard:
            job.busy.connect(self._on_busy)
            job.progressed.connect(self._on_progress)
            job.failed.connect(self._on_failed)
        self.clicks.returned.connect(session.accept)
        self.clicks.cancelled.connect(session.cancelled)
        self.downloads.returned.connect(lambda _: session.downloaded())
        self.downloads.cancelled.connect(session.cancelled)
        self.pictures.returned.connect(lambda pair: self._binding.add_picture(*pair))

    def _connect_everything(self) -> None:
        everything = self.everything
        everything.sweep_requested.connect(self._on_sweep)
        everything.choose_requested.connect(self._on_choose)
        self.sweeps.returned.connect(everything.accept_found)
        self.sweeps.cancelled.connect(everything.cancelled)
        self.bulk.requested.connect(self._on_keep)
        self.keeps.returned.connect(self.bulk.accept)
        self.keeps.cancelled.connect(self.bulk.cancelled)
        self.choices.returned.connect(everything.accept_selection)
        self.choices.failed.connect(lambda _, message: everything.choose_failed(message))
        self.choices.cancelled.connect(everything.choose_cancelled)

    def _connect_keeper(self) -> None:
        keeper = self.keeper
        keeper.look_requested.connect(self._on_look)
        keeper.restore_requested.connect(self._on_restore)
        keeper.sync_requested.connect(self._on_sync)
        self.looks.returned.connect(keeper.found)
        self.restores.returned.connect(keeper.restored)
        self.restores.cancelled.connect(self.session.cancelled)

    def _connect_filing(self) -> None:
        filing = self.filing
        filing.save_requested.connect(self._on_save)
        filing.load_requested.connect(self._on_load)
        self.saves.returned.connect(filing.saved_to)
        self.saves.failed.connect(lambda *_: filing.save_ended())
        self.loads.returned.connect(filing.loaded)
        for job in (self.saves, self.loads):
            job.cancelled.connect(filing.cancelled)

    def _on_save(self, request: SaveRequest) -> None:
        self.saves.submit(partial(save, request))

    def _on_load(self, request: LoadRequest) -> None:
        self.loads.submit(partial(load, request))

    def _on_look(self, source: Source, chosen: Path | None) -> None:
        self.looks.submit(partial(look, source, chosen))

    def _on_restore(self, lines: Lines) -> None:
        self.restores.submit(partial(bring_back, lines))

    def _on_sync(self, journal: Journal) -> None:
        self.syncs.submit(partial(sync, journal))

    def _on_tab(self, index: int) -> None:
        """Let the mouse and the keys be for the tool that is in front."""
        if self.tabs.widget(index) is self.everything_panel:
            self.everything.show()
        else:
            self.session.choose_tool(self.session.tool)

    def _on_sweep(self, request: SweepRequest) -> None:
        if self.volume.tiled:
            self.session.say("This plane is worked on in tiles: use Segment in the tab Volume.")
            return
        self.sweeps.submit(partial(sweep, request, load=self._load, cache=self._cache))

    def _on_keep(self, request: BulkRequest) -> None:
        self.keeps.submit(partial(keep_all, request))

    def _on_choose(self, request: ChooseRequest) -> None:
        self.choices.submit(partial(choose, request))

    def _on_request(self, request: PredictRequest) -> None:
        whole = partial(predict, request, load=self._load, cache=self._cache)
        self.clicks.submit(self.volume_jobs.click(request) or whole)

    def _on_download(self, spec: ModelSpec) -> None:
        self.downloads.submit(partial(download, spec))

    def _on_picture(self, plane: Plane, intensity: Intensity) -> None:
        if self.volume.tiled:
            self.session.say("This plane is too large for a picture of all of it.")
            return
        self.pictures.submit(partial(_make_picture, plane, intensity))

    def _on_cancel(self) -> None:
        for job in self._heard:
            job.cancel()

    def _on_busy(self, _: bool) -> None:
        self.session.set_job(busy=any(job.running for job in self._heard))

    def _on_progress(self, progress: Progress) -> None:
        self.session.set_job(busy=True, progress=progress)

    def _on_failed(self, error: Exception, message: str) -> None:
        self.session.fail(message)
        show_error(message)


def _make_picture(
    plane: Plane, intensity: Intensity
) -> Generator[Progress, None, tuple[NDArray[np.uint8], Plane]]:
    yield Progress(0, 0, "Making the picture ...")
    return to_picture(plane.read(), intensity=intensity), plane


def _let_go(states: Any, binding: Binding, jobs: Any) -> None:
    for job in jobs:
        job.cancel()
    binding.close(viewer_lives=False)
    for state in states:
        state.close()
