"""The tab 3D / time: objects carried through the stack, key planes, scores, corrections."""

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QDoubleSpinBox,
    QListWidget,
    QListWidgetItem,
    QProgressBar,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_sam._pace import span
from napari_sam._panels.curves import Curve, CurvePlot
from napari_sam._panels.rows import Combo, Section, button, line, side_by_side
from napari_sam._propagating import Propagating

WHAT = (("object", "The present object"), ("plane", "All labels of this plane"))
ALONG = ((None, "Automatic"), ("z", "z"), ("t", "t (time)"), ("y", "y"), ("x", "x"))
DIRECTION = (("both", "Both ways"), ("forward", "Forward"), ("backward", "Backward"))
NO_BOUND = -1  # of the spin boxes: shown as "end"
MOST_PLANES = 1_000_000
FULL = 1000  # thousandths of the bar
LIST_HEIGHT = 64
BLUE = "#4a90d9"


class PropagatePanel(QWidget):
    """What and where to; where objects end; progress; key planes and scores."""

    def __init__(self, propagating: Propagating) -> None:
        super().__init__()
        self._state = propagating
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (self._make_choice(), self._make_stops(), self._make_result()):
            layout.addWidget(part)
        layout.addStretch(1)
        propagating.changed.connect(self._show)
        propagating.progressed.connect(self._show_progress)
        self._show()
        self._show_progress()

    # --- making ------------------------------------------------------------------------------

    def _make_choice(self) -> Section:
        section = Section("Through the stack")
        state = self._state
        self.what = Combo(
            "The mask in view, else the objects that are selected; or all labels of the plane in"
            " view. Planes on which an object is drawn already are key planes.",
            lambda value: state.change(what=value),
        )
        self.along = Combo(
            "Axis to go along: one that is not in view. Automatic: z, else t.",
            lambda value: state.change(along=value),
        )
        self.direction = Combo(
            "From the first and last key plane on.", lambda value: state.change(direction=value)
        )
        self.first, self.last = (self._bound(name) for name in ("first", "last"))
        self.propagate = button(
            "Propagate", "Carry the objects on, plane by plane, until they end. One undo takes it"
            " back.", state.propagate,
        )  # fmt: skip
        section.add("What", self.what)
        section.add("Along", self.along)
        section.add("Where to", self.direction)
        section.add("Planes", side_by_side(self.first, self.last))
        section.add_wide(self.propagate)
        return section

    def _make_stops(self) -> Section:
        section = Section("An object ends where, and how it changes")
        ends = "An object ends where"
        self.score = self._limit(
            "least_score", 0.0, 1.0, f"{ends} the model says that its IoU is below."
        )
        self.area = self._limit(
            "most_area_change",
            1.0,
            100.0,
            f"{ends} its area grows or shrinks by more than this factor.",
        )
        self.overlap = self._limit(
            "least_overlap", 0.0, 1.0, f"{ends} the IoU with its mask on the plane before is below."
        )
        self.contrast = self._limit(
            "least_contrast", 0.0, 1.0, f"{ends} it differs from what is around it by less than"
            " this share of what it does on its best key plane."
        )  # fmt: skip
        self.stiffness = self._limit(
            "stiffness", 0.0, 20.0, "Logits for each plane's distance that a pixel lies from where"
            " the outline should be. More: outlines move less from plane to plane. 0: as the model"
            " says. Not used through time.",
        )  # fmt: skip
        section.add("Score below", self.score)
        section.add("Area changes by", self.area)
        section.add("Overlap below", self.overlap)
        section.add("Contrast below", self.contrast)
        section.add("Stiffness", self.stiffness)
        return section

    def _make_result(self) -> Section:
        self._result = section = Section("Look and correct")
        state = self._state
        self.said = line()
        self.bar = QProgressBar()
        self.bar.setRange(0, FULL)
        self.cancel = button("Cancel", "Stop; the planes that are done stay.", state.cancel)
        self.scores = CurvePlot("plane", (0.0, 1.0))
        self.scores.setToolTip(
            "What the model thinks of its masks; upright lines are key planes. Click: go there."
        )
        self.scores.picked.connect(lambda x: state.jump(round(x)))
        self.weak = button("Next weak plane", "Of low score, the worst first.", state.next_weak)
        self.correct = button(
            "Correct",
            "Take the mask in view, and all that was painted or erased since, for their planes:"
            " these are key planes now, and what lies between is found anew.",
            state.correct,
        )
        self.end = button(
            "Not here", "The selected object, or all, ends before the plane in view.",
            state.end_here,
        )  # fmt: skip
        self.keys = QListWidget()
        self.keys.setFixedHeight(LIST_HEIGHT)
        self.keys.setToolTip("Key planes. Click: go there.")
        self.keys.itemClicked.connect(lambda item: state.jump(_plane(item)))
        self.forget = button(
            "No key plane", "Find the plane that is chosen in the list anew.", self._on_forget
        )
        self._work = section.add_wide(self.bar, self.cancel)
        section.add_wide(self.said)
        section.add_wide(self.scores)
        section.add_wide(self.weak)
        section.add_wide(self.correct, self.end)
        section.add_wide(self.keys)
        section.add_wide(self.forget)
        return section

    def _bound(self, name: str) -> QSpinBox:
        made = QSpinBox()
        made.setRange(NO_BOUND, MOST_PLANES)
        made.setSpecialValueText("end")
        made.setToolTip(f"The {name} plane; end: that of the stack.")
        made.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        made.valueChanged.connect(
            lambda value: self._state.change(**{name: None if value == NO_BOUND else value})
        )
        return made

    def _limit(self, name: str, low: float, high: float, tooltip: str) -> QDoubleSpinBox:
        made = QDoubleSpinBox()
        made.setRange(low, high)
        made.setSingleStep(0.05)
        made.setToolTip(tooltip)
        made.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        made.setValue(getattr(self._state.settings, name))
        made.valueChanged.connect(lambda value: self._state.change(**{name: value}))
        return made

    def _on_forget(self) -> None:
        item = self.keys.currentItem()
        if item is not None:
            self._state.forget_key(_plane(item))

    # --- showing -----------------------------------------------------------------------------

    def _show(self) -> None:
        state, settings = self._state, self._state.settings
        self.what.fill(WHAT, settings.what)
        self.along.fill(ALONG, settings.along)
        self.direction.fill(DIRECTION, settings.direction)
        for box, value in ((self.first, settings.first), (self.last, settings.last)):
            with QSignalBlocker(box):
                box.setValue(NO_BOUND if value is None else value)
        chosen = self.keys.currentItem()
        keep = None if chosen is None else _plane(chosen)
        self.keys.clear()
        for plane in state.key_planes:
            item = QListWidgetItem(f"Plane {plane}")
            item.setData(Qt.ItemDataRole.UserRole, plane)
            self.keys.addItem(item)
            if plane == keep:
                self.keys.setCurrentItem(item)
        ready = not state.busy
        has = ready and bool(state.key_planes)
        self.propagate.setEnabled(ready)
        for widget in (self.correct, self.end, self.forget, self.weak):
            widget.setEnabled(has)
        self._show_scores()

    def _show_scores(self) -> None:
        state = self._state
        curve = state.curve
        shown = [Curve("lowest score", BLUE, curve, dots=len(curve) <= 60)] if curve else []
        self.scores.show_curves(shown, state.key_planes)
        weak = state.weak
        self.weak.setText(f"Next weak plane ({len(weak)})" if weak else "No weak plane")

    def _show_progress(self) -> None:
        state, progress = self._state, self._state.progress
        self._result.show_row(self._work, state.busy)
        if progress is not None:
            share = progress.done / progress.total if progress.total else 0.0
            self.bar.setValue(round(FULL * share))
        left = state.pace.left if state.busy else None
        self.said.setText(state.said if left is None else f"{state.said}, {span(left)} left")
        self._show_scores()


def _plane(item: QListWidgetItem) -> int:
    return int(item.data(Qt.ItemDataRole.UserRole))
