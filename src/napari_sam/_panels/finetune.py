"""The tab Fine-tune: what to learn from, how, the run with its curves, what it has brought."""

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import (
    QFileDialog,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QProgressBar,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_sam._finetune import Finetune, figures
from napari_sam._pace import span
from napari_sam._panels.curves import Curve, CurvePlot
from napari_sam._panels.rows import Combo, Section, button, check_box, line, number_box
from napari_sam.training.run_folder import Line, RunReport

DATA = (("layers", "Layers open now"), ("folder", "A folder or OME-Zarr"))
SCOPES = (
    ("decoder", "The decoder (fast, safe)"),
    ("lora", "Also small additions (LoRA)"),
    ("all", "All of it (many images)"),
)
FULL = 1000  # thousandths of the bar
LIST_HEIGHT = 76
MOST_HEIGHT = 280  # of the picture
MOST_POINTS = 200  # of a curve: more cannot be seen, and take long to paint
BLUE, RED, GREEN = "#4a90d9", "#d1495b", "#3fa34d"


class FinetunePanel(QWidget):
    """Data; settings; the run."""

    def __init__(self, finetune: Finetune) -> None:
        super().__init__()
        self._finetune = finetune
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (self._make_data(), self._make_settings(), self._make_run()):
            layout.addWidget(part)
        layout.addStretch(1)
        finetune.changed.connect(self._show)
        finetune.progressed.connect(self._show_run)
        self._show()
        self._show_run()

    # --- making ------------------------------------------------------------------------------

    def _make_data(self) -> Section:
        self._data = section = Section("Learn from")
        finetune = self._finetune
        self.data = Combo(
            "Images with labels, each object one number. Five images, or a few stacks, are"
            " enough to begin with; one of five is set aside to judge by.",
            lambda value: finetune.change(data=value),
        )
        self.layers = QListWidget()
        self.layers.setFixedHeight(LIST_HEIGHT)
        self.layers.setToolTip(
            "Image and Labels layers of the same pixels. Of stacks, planes with labels are used."
        )
        self.layers.itemChanged.connect(self._on_layer)
        self.folder = button("Choose ...", "", self._ask)
        self.folder.setToolTip(
            "images/a.tif with labels/a.tif, or a.tif beside a_label.tif; or an OME-Zarr image"
            " with labels."
        )
        section.add("From", self.data)
        section.add_wide(self.layers)
        section.add_wide(self.folder)
        return section

    def _make_settings(self) -> Section:
        section = Section("Fine-tune")
        finetune = self._finetune
        self.name = QLineEdit()
        self.name.setToolTip("Of the new model: letters, digits, '_', '.' and '-'.")
        self.name.textEdited.connect(lambda text: finetune.change(name=text.strip()))
        self.scope = Combo(
            "The decoder learns in minutes and forgets little. More than it needs more images.",
            lambda value: finetune.change(scope=value),
        )
        self.minutes = number_box(
            "Most minutes of training. It ends sooner where nothing gets better.",
            lambda value: finetune.change(minutes=value),
        )
        self.minutes.setRange(0.1, 10000)
        self.minutes.setDecimals(1)
        self.replace_old = check_box(
            "Replace the model of this name", "One that was made on this machine.",
            lambda on: finetune.change(replace_old=on),
        )  # fmt: skip
        self.begins = line()
        self.start = button("Fine-tune", "Start a run in a program of its own.", self._on_start)
        section.add("Name", self.name)
        section.add("Learns", self.scope)
        section.add("Minutes", self.minutes)
        section.add_wide(self.replace_old)
        section.add_wide(self.begins)
        section.add_wide(self.start)
        return section

    def _make_run(self) -> Section:
        self._run = section = Section("Run")
        finetune = self._finetune
        self.stopped = Combo("Runs that were stopped, in this or an earlier sitting.", _nothing)
        self.resume = button("Resume", "Go on where it was stopped.", self._on_resume)
        self.delete = button("Delete", "Forget this run.", self._on_delete)
        self.said = line()
        self.bar = QProgressBar()
        self.bar.setRange(0, FULL)
        self.pause = button(
            "Pause", "Wait after the step that it is at.",
            lambda: finetune.set_paused(not finetune.paused),
        )  # fmt: skip
        self.cancel = button(
            "Stop", "End the run and keep what it has learned; it can be resumed.", finetune.cancel
        )
        self.loss = CurvePlot("seconds of training")
        self.validation = CurvePlot("seconds of training")
        self.validation.setToolTip("Mean IoU on the images that were set aside.")
        self.picture = QLabel()
        self.picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.picture.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.picture.setToolTip(
            "An image that was set aside, a click on each object: green the labels, magenta the"
            " model as it is now."
        )
        self.table = line()
        section.add_wide(self.stopped)
        self._stopped_row = section.add_wide(self.resume, self.delete)
        section.add_wide(self.said)
        section.add_wide(self.bar)
        self._work_row = section.add_wide(self.pause, self.cancel)
        for widget in (self.validation, self.loss, self.picture, self.table):
            section.add_wide(widget)
        self._pictured: object = None
        return section

    # --- what the user does ------------------------------------------------------------------

    def _ask(self) -> None:
        chosen = QFileDialog.getExistingDirectory(
            self, "Labelled images", self._finetune.settings.folder
        )
        if chosen:
            self._finetune.change(folder=chosen, data="folder")

    def _on_layer(self, item: QListWidgetItem) -> None:
        token = str(item.data(Qt.ItemDataRole.UserRole))
        self._finetune.take(token, item.checkState() == Qt.CheckState.Checked)

    def _on_start(self) -> None:
        self.minutes.interpretText()  # typed, but not left yet
        self._finetune.start()

    def _on_resume(self) -> None:
        self._finetune.resume(str(self.stopped.currentData()))

    def _on_delete(self) -> None:
        self._finetune.delete(str(self.stopped.currentData()))

    # --- showing -----------------------------------------------------------------------------

    def _show(self) -> None:
        finetune, settings = self._finetune, self._finetune.settings
        self.data.fill(DATA, settings.data)
        self._show_layers()
        self._data.show_row(self.layers, settings.data == "layers")
        self._data.show_row(self.folder, settings.data == "folder")
        self.folder.setText(settings.folder.rpartition("/")[2] or "Choose ...")
        if not self.name.hasFocus():
            self.name.setText(settings.name)
        self.scope.fill(SCOPES, settings.scope)
        with QSignalBlocker(self.minutes):
            self.minutes.setValue(settings.minutes)
        self.replace_old.setChecked(settings.replace_old)
        self.begins.setText(f"Begins with {finetune.session.spec.title}.")
        self.start.setEnabled(not finetune.busy)
        stopped = finetune.unfinished
        self.stopped.fill([(name, f"Stopped: {name}") for name in stopped],
                          stopped[0] if stopped else None)  # fmt: skip
        for row in (self.stopped, self._stopped_row):
            self._run.show_row(row, bool(stopped) and not finetune.busy)
        self._show_run()

    def _show_layers(self) -> None:
        finetune = self._finetune
        with QSignalBlocker(self.layers):
            self.layers.clear()
            for pair in finetune.pairs:
                item = QListWidgetItem(pair.name)
                item.setData(Qt.ItemDataRole.UserRole, pair.token)
                left_out = pair.token in finetune.left_out
                item.setCheckState(Qt.CheckState.Unchecked if left_out else Qt.CheckState.Checked)
                self.layers.addItem(item)

    def _show_run(self) -> None:
        finetune, report = self._finetune, self._finetune.report
        left = finetune.pace.left if finetune.busy and not finetune.paused else None
        self.said.setText(finetune.said if left is None else f"{finetune.said}, {span(left)} left")
        self._run.show_row(self.bar, finetune.busy)
        self._run.show_row(self._work_row, finetune.busy)
        self.pause.setText("Go on" if finetune.paused else "Pause")
        share = report.done / report.total if report is not None and report.total else 0.0
        self.bar.setValue(round(FULL * share))
        log, validations = validated(report)
        self.loss.show_curves(log)
        self.validation.show_curves(validations)
        self._run.show_row(self.loss, bool(log))
        self._run.show_row(self.validation, bool(validations))
        self._show_picture(report)
        rows = figures(report)
        self.table.setText(_table(rows))
        self._run.show_row(self.table, bool(rows))

    def _show_picture(self, report: RunReport | None) -> None:
        picture = report.picture if report is not None else None
        self._run.show_row(self.picture, picture is not None)
        if picture == self._pictured:
            return
        self._pictured = picture
        if picture is not None:
            width = max(self.loss.width(), 200)
            pixmap = QPixmap(str(picture[0])).scaled(
                width,
                MOST_HEIGHT,
                Qt.AspectRatioMode.KeepAspectRatio,
                Qt.TransformationMode.SmoothTransformation,
            )
            self.picture.setPixmap(pixmap)
            self.picture.setFixedHeight(pixmap.height())


def validated(report: RunReport | None) -> tuple[list[Curve], list[Curve]]:
    """The curves of a run: of the loss, and of the images set aside; without lines, none."""
    if report is None:
        return [], []
    log = [(each["seconds"], each["loss"]) for each in thinned(report.log)]
    loss = [Curve("loss", BLUE, tuple(log))] if log else []
    names = (("click", "1 click", RED), ("last_click", "3 clicks", GREEN), ("box", "box", BLUE))
    seen = thinned(report.validations)
    curves = [
        Curve(title, colour, tuple((v["seconds"], v[name]) for v in seen), dots=len(seen) < 40)
        for name, title, colour in names
    ]
    return loss, curves if seen else []


def thinned(lines: tuple[Line, ...]) -> tuple[Line, ...]:
    """At most some hundred of the lines, evenly spread, the last one among them."""
    step = -(-len(lines) // MOST_POINTS)
    return lines[::-1][:: max(1, step)][::-1]


def _table(rows: list[tuple[str, float, float]]) -> str:
    """What it has brought, as a table."""
    lines = [
        f"<tr><td>{title}&nbsp;</td><td>{before:.3f}&nbsp;</td><td>{after:.3f}&nbsp;</td>"
        f"<td><b>{100 * (after - before):+.1f}</b></td></tr>"
        for title, before, after in rows
    ]
    head = "<tr><td>mean IoU&nbsp;</td><td>before&nbsp;</td><td>after&nbsp;</td><td></td></tr>"
    return f"<table>{head}{''.join(lines)}</table>"


def _nothing(_: object) -> None:
    """What is chosen is read when a button is pressed."""
