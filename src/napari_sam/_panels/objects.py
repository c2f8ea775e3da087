"""The objects that are kept: a table, what can be done to the selected ones, and the review."""

from typing import Any

from qtpy.QtCore import QAbstractTableModel, QItemSelectionModel, QModelIndex, Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHeaderView,
    QLabel,
    QSizePolicy,
    QSpinBox,
    QTableView,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_sam._annotated import ObjectRecord
from napari_sam._panels.kinds import KindsPanel
from napari_sam._panels.rows import Combo, Section, button
from napari_sam._review import Review

COLUMNS = ("Id", "Class", "Area", "Score", "Seen")
WIDEST = ("00000", "", "0,000,000", "Score v", "Seen v")
FILTERS = (
    ("all", "All"),
    ("unreviewed", "Not reviewed"),
    ("small", "Small"),
    ("low score", "Low score"),
    ("at the border", "At the border"),
)
SHAPES = (
    ("fill holes", "Fill holes"),
    ("largest island", "Drop islands"),
    ("smooth", "Smooth"),
    ("grow", "Grow"),
    ("shrink", "Shrink"),
)
LEAST_ROWS = 5


class ObjectModel(QAbstractTableModel):
    """The records of a list, a row each; sorted by a click on a column's title."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[ObjectRecord] = []
        self._column, self._order = 0, Qt.SortOrder.AscendingOrder

    def show(self, records: tuple[ObjectRecord, ...]) -> None:
        """Show these."""
        self.beginResetModel()
        self.records = self._sorted(list(records))
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """How many there are."""
        return len(self.records)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """How much is said of each."""
        return len(COLUMNS)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Text and alignment of a cell."""
        if role == Qt.ItemDataRole.DisplayRole:
            return _texts(self.records[index.row()])[index.column()]
        if role == Qt.ItemDataRole.TextAlignmentRole and index.column() != 1:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def headerData(
        self,
        section: int,
        orientation: Qt.Orientation,
        role: int = Qt.ItemDataRole.DisplayRole,
    ) -> Any:
        """Titles of the columns."""
        if role == Qt.ItemDataRole.DisplayRole and orientation == Qt.Orientation.Horizontal:
            return COLUMNS[section]
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column, from now on."""
        self._column, self._order = column, order
        self.show(tuple(self.records))

    def _sorted(self, records: list[ObjectRecord]) -> list[ObjectRecord]:
        down = self._order == Qt.SortOrder.DescendingOrder
        records.sort(key=lambda one: _keys(one)[self._column], reverse=down)
        return records


def _texts(record: ObjectRecord) -> tuple[str, ...]:
    score = "" if record.score is None else f"{record.score:.2f}"
    return (
        str(record.number),
        record.kind,
        f"{record.area:,}",
        score,
        "yes" if record.reviewed else "",
    )


def _keys(record: ObjectRecord) -> tuple[Any, ...]:
    score = -1.0 if record.score is None else record.score
    return (record.number, record.kind, record.area, score, record.reviewed)


class ObjectsPanel(QWidget):
    """Table and filter; review; what is done to the selected objects."""

    def __init__(self, review: Review) -> None:
        super().__init__()
        self._review = review
        self._showing = False
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.kinds = KindsPanel(review)
        self.inner = QTabWidget()  # beneath each other they would not fit on a small screen
        self.inner.addTab(self._make_change(), "Selected objects")
        self.inner.addTab(self.kinds, "Classes")
        for section in (self._make_list(), self._make_review(), self.inner):
            layout.addWidget(section)
        layout.addStretch(1)
        review.list_changed.connect(self._show_list)
        review.session.selection_changed.connect(self._show_selection)
        self._show_list()

    def _make_list(self) -> Section:
        section = Section("Objects")
        review = self._review
        self.filter = Combo("Which objects are listed.", lambda w: review.set_filter(wanted=w))
        self.limit = QSpinBox()
        self.limit.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.limit.valueChanged.connect(self._on_limit)
        self.count = QLabel()
        self.model = ObjectModel()
        self.table = QTableView()
        self.table.setModel(self.model)
        self.table.setToolTip("Click: go there. Ctrl or Shift + click: select several.")
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the keys are for the canvas
        self.table.setSortingEnabled(True)
        self.table.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        for header in (self.table.horizontalHeader(), self.table.verticalHeader()):
            assert header is not None
        rows = self.table.verticalHeader()
        columns = self.table.horizontalHeader()
        assert rows is not None
        assert columns is not None
        rows.setVisible(False)
        for index, widest in enumerate(WIDEST):  # by their content would measure every row
            columns.resizeSection(index, self.fontMetrics().horizontalAdvance(widest) + 12)
        columns.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        rows.setDefaultSectionSize(self.fontMetrics().height() + 6)
        self.table.setMinimumHeight(LEAST_ROWS * rows.defaultSectionSize())
        self.table.clicked.connect(self._on_clicked)
        selection = self.table.selectionModel()
        assert selection is not None
        selection.selectionChanged.connect(self._on_selected)
        section.add("Show", self.filter)
        section.add("Below", self.limit)
        section.add_wide(self.count)
        section.add_wide(self.table)
        return section

    def _make_review(self) -> Section:
        section = Section("Review")
        review = self._review
        self.back = button("Back", "The object before that is not reviewed. Shift+N", self._back)
        self.accept = button(
            "Accept (R)", "The selected objects are right; go to the next. R", review.accept
        )
        self.next = button("Next", "The next object that is not reviewed. N", review.step)
        section.add_wide(self.back, self.accept, self.next)
        return section

    def _make_change(self) -> Section:
        section = Section("")
        review = self._review
        self.kind = QComboBox()
        self.kind.setEditable(True)
        self.kind.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.kind.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.kind.setToolTip("Class: choose one, or write a new one and press Enter.")
        edit = self.kind.lineEdit()
        assert edit is not None
        edit.returnPressed.connect(self._on_kind)
        self.kind.activated.connect(self._on_kind)
        self.open = button(
            "Open (O)",
            "Its prompts come back: edit them, and Enter replaces the object. O over it",
            review.session.open_object,
        )
        self.refine = button(
            "Refine (U)",
            "Begin with its shape as it is, also if it was drawn by hand: points correct it, and"
            " Enter replaces it. U",
            review.refine,
        )
        self.delete = button("Delete (X)", "Take it out of the labels. X", review.delete)
        self.merge = button("Merge", "Make one object of the selected ones.", review.merge)
        self.split = button(
            "Split",
            "Split an object: first put two or more points on it, one on each part.",
            review.split,
        )
        self.shape = Combo("What is done to the shape.", lambda _: None)
        self.shape.fill(SHAPES, SHAPES[0][0])
        self.amount = QSpinBox()
        self.amount.setRange(1, 50)
        self.amount.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.amount.setToolTip("By how many pixels; for smooth, grow and shrink.")
        self.amount.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.apply = button("Apply", "Change the shape of the selected objects.", self._on_shape)
        self.new = QSpinBox()
        self.new.setRange(1, 2**31 - 1)
        self.new.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.new.setToolTip("Another number for the object; one that is not taken.")
        self.new.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.renumber = button("Set", "Give the object this number.", self._on_renumber)
        section.add("Class", self.kind)
        section.add_wide(self.open, self.refine, self.delete)
        section.add_wide(self.merge, self.split)
        section.add_wide(self.shape, self.amount, self.apply)
        section.add_wide(QLabel("Number"), self.new, self.renumber)
        return section

    def _back(self) -> None:
        self._review.step(-1)

    def _on_kind(self, *_: object) -> None:
        self._review.set_kind(self.kind.currentText())

    def _on_shape(self) -> None:
        self._review.reshape(self.shape.currentData(), self.amount.value())

    def _on_renumber(self) -> None:
        self._review.renumber(self.new.value())

    def _on_limit(self, value: int) -> None:
        if self._showing:
            return
        if self._review.filter.wanted == "small":
            self._review.set_filter(least_area=value)
        else:
            self._review.set_filter(least_score=value / 100)

    def _on_clicked(self, index: QModelIndex) -> None:
        chosen = self._chosen()
        if len(chosen) == 1:
            self._review.go_to(self.model.records[index.row()].number)

    def _on_selected(self, *_: object) -> None:
        if not self._showing:
            self._review.session.select(self._chosen())

    def _chosen(self) -> list[int]:
        selection = self.table.selectionModel()
        assert selection is not None
        return [self.model.records[index.row()].number for index in selection.selectedRows()]

    def _show_list(self) -> None:
        review = self._review
        self._showing = True
        try:
            self.filter.fill(FILTERS, review.filter.wanted)
            self._show_limit()
            self.count.setText(review.count)
            self.model.show(review.rows)
            here = self.kind.currentText()
            self.kind.clear()
            self.kind.addItems(["", *review.kinds])
            self.kind.setEditText(here)
        finally:
            self._showing = False
        self._show_selection()

    def _show_limit(self) -> None:
        chosen = self._review.filter
        small = chosen.wanted == "small"
        self.limit.setEnabled(chosen.wanted in ("small", "low score"))
        self.limit.setRange(0, 10_000_000 if small else 100)
        self.limit.setSuffix(" pixels" if small else " %")
        self.limit.setValue(chosen.least_area if small else round(100 * chosen.least_score))

    def _show_selection(self) -> None:
        chosen = self._review.session.selection
        objects = self._review.session.document.objects
        self._showing = True
        try:
            selection = self.table.selectionModel()
            assert selection is not None
            selection.clearSelection()
            for row, record in enumerate(self.model.records):
                if record.number in chosen:
                    index = self.model.index(row, 0)
                    flags = QItemSelectionModel.SelectionFlag
                    selection.select(index, flags.Select | flags.Rows)
                    if len(chosen) == 1:
                        self.table.scrollTo(index)
            if chosen:
                self.kind.setEditText(objects[chosen[0]].kind)
                self.new.setValue(chosen[0])
        finally:
            self._showing = False
        some: tuple[QWidget, ...] = (self.delete, self.apply, self.kind)
        single: tuple[QWidget, ...] = (self.open, self.refine, self.new, self.renumber)
        for one in some:
            one.setEnabled(bool(chosen))
        for one in single:
            one.setEnabled(len(chosen) == 1)
        self.merge.setEnabled(len(chosen) > 1)
