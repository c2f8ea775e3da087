"""All objects of a plane at once: ask a grid of points, move thresholds, commit what stays."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QLabel, QSpinBox, QVBoxLayout, QWidget

from napari_sam._everything import Everything
from napari_sam._panels.rows import Combo, Section, button
from napari_sam._panels.sliders import Slider

HUNDREDTHS = [step / 100 for step in range(101)]
AREAS = sorted({0, *(round(10 ** (step / 10)) for step in range(81))})  # pixels
LEVELS = (
    ("all", "All"),
    ("whole", "Wholes"),
    ("part", "Parts"),
    ("subpart", "Sub-parts"),
)
OVERLAPS = (("smaller_on_top", "Smaller on top"), ("score_on_top", "Surer on top"))


class EverythingPanel(QWidget):
    """Grid and Run; live thresholds; count and commit."""

    def __init__(self, everything: Everything) -> None:
        super().__init__()
        self._everything = everything
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for section in (self._make_grid(), self._make_choice(), self._make_commit()):
            layout.addWidget(section)
        layout.addStretch(1)
        everything.settings_changed.connect(self._show_settings)
        everything.selection_changed.connect(self._show_count)
        self._show_settings()
        self._show_count()

    def _make_grid(self) -> Section:
        section = Section("Ask everywhere")
        self.points = self._spin_box(
            "points_per_side",
            1,
            128,
            "Points along each side of the grid: more find smaller objects.",
        )
        self.crops = self._spin_box(
            "crop_n_layers",
            0,
            3,
            "Also ask 4, 16 or 64 crops: for many small objects. Slow.",
        )
        self.adaptive = self._check_box(
            "Adaptive",
            "adaptive",
            "Ask coarsely first, then only where nothing was found and contrast says that something"
            " may be. Faster.",
        )
        self.run = button("Run", "Look for candidates in the plane in view.", self._everything.run)
        section.add("Points a side", self.points)
        section.add("Crop layers", self.crops)
        section.add_wide(self.adaptive, self.run)
        return section

    def _make_choice(self) -> Section:
        section = Section("Which stay")
        self.sliders = {
            "pred_iou_thresh": self._slider("pred_iou_thresh", "Least IoU that the model expects."),
            "stability_score_thresh": self._slider(
                "stability_score_thresh", "How little the outline may depend on the threshold."
            ),
            "box_nms_thresh": self._slider(
                "box_nms_thresh",
                "Of two candidates whose boxes overlap more than this the surer one stays.",
            ),
            "least_area": self._area_slider("least_area", "Smallest object, in pixels."),
            "most_area": self._area_slider("most_area", "Largest object, in pixels."),
        }
        titles = ("Expected IoU", "Stability", "Overlap", "Smallest", "Largest")
        for title, slider in zip(titles, self.sliders.values(), strict=True):
            section.add(title, slider)
        self.level = self._combo("level", "Wholes, their parts, or the parts' parts.")
        self.overlap = self._combo("overlap", "Which object is seen where two overlap.")
        self.border = self._check_box(
            "No objects at the border", "drop_border", "Leave out what the image's border cuts."
        )
        section.add("Level", self.level)
        section.add("Order", self.overlap)
        section.add_wide(self.border)
        return section

    def _make_commit(self) -> Section:
        section = Section("Keep")
        everything = self._everything
        self.count = QLabel()
        self.replace = self._check_box(
            "Replace", "replace", "Paint over labels that are there; otherwise they stay."
        )
        self.commit = button(
            "Commit all (Enter)",
            "Write all candidates that stay as new labels: one step, which can be undone.",
            everything.commit,
        )
        self.clear = button("Clear", "Forget the candidates. Escape", everything.clear)
        self.reset = button("Defaults", "Back to the settings of the model.", everything.reset)
        section.add_wide(self.count, self.replace)
        section.add_wide(self.commit)
        section.add_wide(self.clear, self.reset)
        return section

    def _spin_box(self, name: str, least: int, most: int, tooltip: str) -> QSpinBox:
        made = QSpinBox()
        made.setRange(least, most)
        made.setToolTip(tooltip)
        made.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        made.valueChanged.connect(lambda value: self._everything.change(**{name: value}))
        return made

    def _check_box(self, text: str, name: str, tooltip: str) -> QCheckBox:
        made = QCheckBox(text)
        made.setToolTip(tooltip)
        made.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        made.toggled.connect(lambda on: self._everything.change(**{name: bool(on)}))
        return made

    def _slider(self, name: str, tooltip: str) -> Slider:
        return Slider(HUNDREDTHS, tooltip, lambda value: self._everything.change(**{name: value}))

    def _area_slider(self, name: str, tooltip: str) -> Slider:
        def moved(value: float) -> None:
            unlimited = name == "most_area" and value == AREAS[-1]
            self._everything.change(**{name: None if unlimited else int(value)})

        return Slider(AREAS, tooltip, moved, text=_area_text)

    def _combo(self, name: str, tooltip: str) -> Combo:
        return Combo(tooltip, lambda value: self._everything.change(**{name: value}))

    def _show_settings(self) -> None:
        settings, params = self._everything.settings, self._everything.settings.params
        self.points.setValue(params.points_per_side)
        self.crops.setValue(params.crop_n_layers)
        self.adaptive.setChecked(params.adaptive)
        self.border.setChecked(settings.drop_border)
        self.replace.setChecked(settings.replace)
        values = {
            "pred_iou_thresh": params.pred_iou_thresh,
            "stability_score_thresh": params.stability_score_thresh,
            "box_nms_thresh": params.box_nms_thresh,
            "least_area": settings.least_area,
            "most_area": AREAS[-1] if settings.most_area is None else settings.most_area,
        }
        for name, value in values.items():
            self.sliders[name].show_value(value)
        self.level.fill(LEVELS, params.level)
        self.overlap.fill(OVERLAPS, settings.overlap)
        outdated = self._everything.is_outdated
        self.run.setText("Run again" if outdated else "Run")

    def _show_count(self) -> None:
        everything = self._everything
        self.count.setText(everything.count)
        self.commit.setEnabled(everything.selection is not None)
        self.clear.setEnabled(everything.selection is not None)
        self._show_settings()


def _area_text(area: float) -> str:
    if area >= AREAS[-1]:
        return "no limit"
    return f"{area:,.0f}" if area < 100_000 else f"{area / 1e6:.1f} M"
