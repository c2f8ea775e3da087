"""Classes: a table of names and colours, and what can be done to them."""

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QColorDialog, QTableWidget, QTableWidgetItem

from napari_sam._panels.rows import Section, button, check_box
from napari_sam._review import Review

TITLES = ("Class", "Colour", "Objects")
LEAST_ROWS = 4


class KindsPanel(Section):
    """The table; add, remove, choose all objects of one; colours of classes in the picture."""

    def __init__(self, review: Review) -> None:
        super().__init__("")
        self._review = review
        self._showing = False
        self.table = QTableWidget(0, len(TITLES))
        self.table.setHorizontalHeaderLabels(TITLES)
        self.table.setToolTip(
            "Click: new objects are of this class. Double click on the name: another name;"
            " on the colour: another colour."
        )
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        columns, rows = self.table.horizontalHeader(), self.table.verticalHeader()
        assert columns is not None
        assert rows is not None
        rows.setVisible(False)
        rows.setDefaultSectionSize(self.fontMetrics().height() + 6)
        columns.setSectionResizeMode(0, columns.ResizeMode.Stretch)
        for index in (1, 2):
            columns.resizeSection(index, self.fontMetrics().horizontalAdvance(TITLES[index]) + 18)
        self.table.setMinimumHeight(LEAST_ROWS * rows.defaultSectionSize())
        self.table.cellClicked.connect(self._on_clicked)
        self.table.cellDoubleClicked.connect(self._on_double)
        self.table.itemChanged.connect(self._on_edited)
        self.new = button("New", "One more class; new objects are of it. Rename it in the table.",
                          self._on_new)  # fmt: skip
        self.remove = button("Remove", "Forget the class. Its objects stay.", self._on_remove)
        self.choose = button(
            "Select all", "Select all objects of the class, to delete, reshape or reclass them.",
            self._on_choose,
        )  # fmt: skip
        self.colours = check_box(
            "Show classes in their colours",
            "Objects have the colour of their class, those of none are grey. Off: each its own.",
            review.set_by_kind,
        )
        self.add_wide(self.table)
        self.add_wide(self.new, self.remove, self.choose)
        self.add_wide(self.colours)
        review.list_changed.connect(self._show)
        review.session.prompts_changed.connect(self._show_chosen)
        self._show()

    def _show(self) -> None:
        rows = self._review.kind_rows
        self._showing = True
        try:
            self.table.setRowCount(len(rows))
            for row, (name, colour, count) in enumerate(rows):
                self._fill(row, name, colour, count)
            self.colours.setChecked(self._review.by_kind)
        finally:
            self._showing = False
        self._show_chosen()

    def _fill(self, row: int, name: str, colour: str, count: int) -> None:
        title, swatch, number = (QTableWidgetItem(text) for text in (name, "", f"{count:,}"))
        fixed = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        title.setData(Qt.ItemDataRole.UserRole, name)
        swatch.setBackground(QColor(colour or "#808080"))
        swatch.setToolTip(colour)
        number.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        for item in (swatch, number):
            item.setFlags(fixed)
        for column, item in enumerate((title, swatch, number)):
            self.table.setItem(row, column, item)

    def _show_chosen(self) -> None:
        names = self._names()
        kind = self._review.session.kind
        self._showing = True
        try:
            self.table.setCurrentCell(names.index(kind) if kind in names else -1, 0)
        finally:
            self._showing = False
        for one in (self.remove, self.choose):
            one.setEnabled(kind in names)

    def _names(self) -> list[str]:
        items = (self.table.item(row, 0) for row in range(self.table.rowCount()))
        return [str(item.data(Qt.ItemDataRole.UserRole)) for item in items if item is not None]

    def _on_clicked(self, row: int, _: int) -> None:
        self._review.session.set_kind(self._names()[row])

    def _on_double(self, row: int, column: int) -> None:
        if column == 1:
            name, colour, _ = self._review.kind_rows[row]
            chosen = QColorDialog.getColor(QColor(colour or "#808080"), self, f"Colour of {name}")
            if chosen.isValid():
                self._review.add_kind(name, chosen.name())

    def _on_edited(self, item: QTableWidgetItem) -> None:
        if not self._showing and item.column() == 0:
            self._review.rename_kind(str(item.data(Qt.ItemDataRole.UserRole)), item.text())

    def _on_new(self) -> None:
        names, number = self._names(), 1
        while f"class {number}" in names:
            number += 1
        self._review.add_kind(f"class {number}")

    def _on_remove(self) -> None:
        self._review.remove_kind(self._review.session.kind)

    def _on_choose(self) -> None:
        self._review.select_kind(self._review.session.kind)
