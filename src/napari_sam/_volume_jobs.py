"""The threads of the tab Volume: clicks in tiles, looking ahead, one long task, the map of tiles.

Knows jobs and the state of the tab; no widgets.
"""

import threading
import time
from functools import partial
from typing import Any

from napari_sam._jobs import Job, LatestJob
from napari_sam._predict import Load, PredictRequest, PredictResponse
from napari_sam._tiled import TilePool, look_ahead, predict_tiled
from napari_sam._volume import Found, TileTask, Volume
from napari_sam._volume_tasks import make_map, run_task
from napari_sam.progress import Progress

MAP_EVERY_S = 2.0


class VolumeJobs:
    """Runs what the tab asks for.

    Parameters
    ----------
    volume
        State of the tab.
    clicks
        The dock's job for clicks: everything else gives way to it.
    load
        Gives predictors.
    parent
        Of the threads' objects.
    """

    def __init__(self, volume: Volume, clicks: LatestJob, load: Load, parent: Any) -> None:
        self._volume, self._clicks = volume, clicks
        self.pool = TilePool(load)
        self.ahead, self.tasks, self.maps = (LatestJob(parent) for _ in range(3))
        self._given_up = threading.Event()
        self._mapped = 0.0
        volume.task_requested.connect(self._on_task)
        volume.cancel_requested.connect(self.tasks.cancel)
        volume.map_wanted.connect(self.draw_map)
        volume.session.cancel_requested.connect(self.tasks.cancel)
        volume.session.requested.connect(self._on_request)
        self.tasks.busy.connect(lambda on: volume.set_job(busy=on))
        self.tasks.progressed.connect(self._on_progress)
        self.tasks.returned.connect(self._on_returned)
        self.tasks.cancelled.connect(self._on_cancelled)
        self.maps.returned.connect(self._on_map)
        clicks.returned.connect(self._on_click)

    @property
    def all(self) -> tuple[LatestJob, ...]:
        """All of them."""
        return (self.ahead, self.tasks, self.maps)

    def close(self) -> None:
        """The window is gone."""
        self._given_up.set()

    def click(self, request: PredictRequest) -> Job[PredictResponse] | None:
        """The job of a request, if its plane works in tiles."""
        setup = self._volume.setup(request.plane)
        return None if setup is None else partial(predict_tiled, request, setup, self.pool)

    def _on_request(self, request: PredictRequest) -> None:
        """A click goes first: what was looked at ahead of it is given up at once."""
        self._given_up.set()
        self.ahead.cancel()

    def _on_click(self, response: PredictResponse) -> None:
        volume = self._volume
        setup = volume.setup(response.plane)
        place = None if setup is None else setup.source.at(response.plane)
        if setup is None or place is None:
            return
        self.draw_map()
        patch = next((p for one in response.objects for p in one if p.mask.size), None)
        if patch is None or not volume.settings.ahead or self.tasks.running:
            return
        middle = tuple(
            start + length / 2 for start, length in zip(patch.offset, patch.mask.shape, strict=True)
        )
        self._given_up = given_up = threading.Event()
        self.ahead.submit(
            partial(look_ahead, setup, place[0], (middle[0], middle[1]), self.pool,
                    unwanted=lambda: given_up.is_set() or self._clicks.running)
        )  # fmt: skip

    def _on_task(self, task: TileTask) -> None:
        self._given_up.set()
        self.ahead.cancel()
        self.tasks.submit(partial(run_task, task, self.pool, busy=lambda: self._clicks.running))

    def _on_progress(self, progress: Progress) -> None:
        self._volume.set_job(busy=True, progress=progress)
        if time.monotonic() > self._mapped + MAP_EVERY_S:
            self.draw_map()

    def _on_returned(self, result: Any) -> None:
        if isinstance(result, Found):
            self._volume.accept_part(result)
        else:
            self._volume.finished(result.text, result.path)
        self.draw_map()

    def _on_cancelled(self) -> None:
        self._volume.cancelled()
        self.draw_map()

    def draw_map(self) -> None:
        """Find out which tiles of the plane in view are done."""
        volume = self._volume
        setup = volume.setup(volume.session.plane)
        if setup is not None and volume.show_map and volume.session.plane is not None:
            self._mapped = time.monotonic()
            self.maps.submit(partial(make_map, setup, volume.session.plane, self.pool))

    def _on_map(self, made: Any) -> None:
        if made is not None:
            self._volume.accept_map(made)
