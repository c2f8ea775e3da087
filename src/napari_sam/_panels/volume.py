"""Planes and volumes in tiles: how they are cut, looking ahead, segmenting, labels on disk."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLineEdit, QProgressBar, QSpinBox, QVBoxLayout, QWidget

from napari_sam._pace import span
from napari_sam._panels.rows import Combo, Section, button, check_box, line, side_by_side
from napari_sam._volume import Scope, Task, Volume

WHEN = (
    ("auto", "For large planes"),
    ("always", "Always"),
    ("never", "Never"),
)
FULL = 1000  # thousandths of the bar
AUTO = 0  # of the spin box: shown as "auto"
MOST_SIDE = 8192


class VolumePanel(QWidget):
    """Tiles; what is looked at beforehand; segment; progress; labels on disk."""

    def __init__(self, volume: Volume) -> None:
        super().__init__()
        self._volume = volume
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        sections = (
            self._make_tiles(), self._make_ahead(), self._make_segment(), self._make_progress(),
        )  # fmt: skip
        for section in sections:
            layout.addWidget(section)
        layout.addStretch(1)
        volume.changed.connect(self._show_settings)
        volume.progressed.connect(self._show_progress)
        volume.map_changed.connect(self._show_map)
        self._show_settings()
        self._show_progress()

    def _make_tiles(self) -> Section:
        section = Section("Tiles")
        change = self._volume.change
        self.when = Combo(
            "Whether a click looks at its tile in full resolution, or at the whole plane reduced.\n"
            "For large planes: those of more than 4096 pixels a side.",
            lambda value: change(when=value),
        )
        self.level = Combo(
            "Resolution that the model sees: coarser for objects that are larger than a tile.",
            lambda value: change(level=value),
        )
        self.side = self._spin_box("side", "Side of the tiles; auto: what the model sees at once.")
        self.halo = self._spin_box(
            "halo", "What a tile sees of its neighbours; best as large as an object."
        )
        section.add("In tiles", self.when)
        section.add("Level", self.level)
        section.add("Tile, halo", side_by_side(self.side, self.halo))
        self.about = line()
        section.add_wide(self.about)
        return section

    def _make_ahead(self) -> Section:
        section = Section("For quick clicks")
        volume = self._volume
        self.ahead = check_box(
            "Look ahead",
            "Look at the tiles around the last click and at the planes beside it, while nothing"
            " else is to do. A click never waits for it.",
            lambda on: volume.change(ahead=on),
        )
        self.keep = check_box(
            "Keep on disk",
            "Keep what the model has seen beside the image, for the next day and for Segment.",
            lambda on: volume.change(keep=on),
        )
        self.frames = check_box(
            "Show frames", "Frame the tiles that have been looked at.", volume.set_show_map
        )
        section.add_wide(self.ahead, self.keep)
        self.look_plane = self._task("Plane", "look", "plane", "Look at all tiles of this plane.")
        self.look_volume = self._task("All", "look", "volume", "Look at all tiles of all planes.")
        self.look_view = self._task("View", "look", "view", "Look at the tiles in view.")
        section.add("Look at", side_by_side(self.look_view, self.look_plane, self.look_volume))
        section.add_wide(self.frames)
        return section

    def _make_segment(self) -> Section:
        section = Section("Segment (settings: tab Everything)")
        self.name = QLineEdit()
        self.name.setToolTip(
            "Labels go to labels/NAME of the OME-Zarr image; of other images, to a zarr beside it."
        )
        self.name.editingFinished.connect(lambda: self._volume.rename(self.name.text()))
        self.segment_view = self._task(
            "What is in view", "segment", "view",
            "Find all objects in view: new labels, one step that can be undone.",
        )  # fmt: skip
        self.segment_volume = self._task(
            "Whole volume", "segment", "volume",
            "Find all objects of all planes, stitched across seams and linked through z.\n"
            "Stopped, the same button goes on where it was.",
        )  # fmt: skip
        self.paint = button(
            "Paint here", "Let brush and eraser change labels on disk, in the part in view.",
            self._volume.paint,
        )  # fmt: skip
        section.add("Labels", self.name)
        section.add_wide(self.segment_view, self.segment_volume)
        section.add_wide(self.paint)
        self.kept_in = line()
        section.add_wide(self.kept_in)
        return section

    def _make_progress(self) -> QWidget:
        self.bar = QProgressBar()
        self.bar.setRange(0, FULL)
        self.cancel = button("Cancel", "Stop; what is done stays.", self._volume.cancel)
        self.left = line()
        made = QWidget()
        layout = QVBoxLayout(made)
        layout.setContentsMargins(6, 0, 6, 0)
        layout.addWidget(self.left)
        layout.addWidget(side_by_side(self.bar, self.cancel))
        self.work = made
        return made

    def _spin_box(self, name: str, tooltip: str) -> QSpinBox:
        made = QSpinBox()
        made.setRange(AUTO, MOST_SIDE)
        made.setSingleStep(64)
        made.setSpecialValueText("auto")
        made.setToolTip(tooltip)
        made.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        made.setKeyboardTracking(False)  # no new tiles for each digit
        made.valueChanged.connect(
            lambda value: self._volume.change(**{name: None if value == AUTO else value})
        )
        return made

    def _task(self, text: str, task: Task, scope: Scope, tooltip: str) -> QWidget:
        return button(text, tooltip, lambda: self._volume.run(task, scope))

    def _show_settings(self) -> None:
        volume, settings = self._volume, self._volume.settings
        self.when.fill(WHEN, settings.when)
        source = volume.source
        levels = range(len(source.levels)) if source is not None else range(1)
        self.level.fill([(n, _level(volume, n)) for n in levels], settings.level)
        for box, value in ((self.side, settings.side), (self.halo, settings.halo)):
            box.blockSignals(True)
            box.setValue(AUTO if value is None else value)
            box.blockSignals(False)
        self.ahead.setChecked(settings.ahead)
        self.keep.setChecked(settings.keep)
        self.frames.setChecked(volume.show_map)
        if not self.name.hasFocus():
            self.name.setText(volume.name)
        self.about.setText(_about(volume))
        self.kept_in.setText(f"Objects are kept in {volume.kept_in}." if volume.kept_in else "")
        self.kept_in.setVisible(bool(volume.kept_in))
        self._enable()

    def _enable(self) -> None:
        volume = self._volume
        ready = volume.source is not None and not volume.busy
        for widget in (self.look_view, self.look_plane, self.look_volume, self.segment_view,
                       self.segment_volume):  # fmt: skip
            widget.setEnabled(ready)
        self.paint.setEnabled(volume.source is not None)

    def _show_progress(self) -> None:
        volume = self._volume
        progress = volume.progress
        self.work.setVisible(volume.busy)
        if progress is not None:
            done = progress.done / progress.total if progress.total else 0.0
            self.bar.setValue(round(FULL * done))
            counted = f"{progress.done} of {progress.total}: " if progress.total else ""
            left = volume.time_left
            rest = "" if left is None else f", {span(left)} left"
            self.left.setText(f"{counted}{progress.message}{rest}")
        self._enable()

    def _show_map(self) -> None:
        self.about.setText(_about(self._volume))


def _level(volume: Volume, level: int) -> str:
    if volume.source is None:
        return "0"
    height, width = volume.source.size_at(level)
    return f"{level}: {height} x {width}"


def _about(volume: Volume) -> str:
    """What the settings come to, in a sentence."""
    if volume.source is None:
        return "Open an image first."
    side, halo = volume.settings.cut(volume.session.model.name)
    if not volume.tiled:
        return f"Clicks see the whole plane. Segment works in tiles of {side} px, halo {halo}."
    done = ""
    if volume.map is not None:
        done = f" {int(volume.map.done.sum())} of {volume.map.done.size} here are ready."
    return f"Clicks see their tile: {side} px, halo {halo}.{done}"
