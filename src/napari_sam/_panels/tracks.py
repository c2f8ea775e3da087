"""Tracks of a film: look, decide which divisions and endings there are, make layers."""

from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QListWidget, QListWidgetItem

from napari_sam._panels.rows import Section, button, line
from napari_sam._tracks import Tracks

LIST_HEIGHT = 90


class TracksPanel(Section):
    """Link the labels of all frames; a list of events; labels and a Tracks layer."""

    def __init__(self, tracks: Tracks) -> None:
        super().__init__("Tracks")
        self._tracks = tracks
        self.look = button(
            "Look for tracks",
            "Link the labels of all frames by what they share, and propose divisions and endings.",
            tracks.look,
        )
        self.events = QListWidget()
        self.events.setFixedHeight(LIST_HEIGHT)
        self.events.setToolTip(
            "Proposed divisions and endings. Click: go there. Untick: it is none; an object that"
            " does not end goes on as the one that is named."
        )
        self.events.itemChanged.connect(self._on_ticked)
        self.events.itemClicked.connect(self._on_clicked)
        self.make = button(
            "Make tracks",
            "New labels in which an object keeps its number through time, and a Tracks layer.",
            tracks.make,
        )
        self.cancel = button("Cancel", "Stop; nothing is made.", tracks.cancel)
        self.said = line()
        self.add_wide(self.look)
        self.add_wide(self.said)
        self.add_wide(self.events)
        self.add_wide(self.make)
        self.add_wide(self.cancel)
        self._shown: object = None
        tracks.changed.connect(self._show)
        self._show()

    def _on_ticked(self, item: QListWidgetItem) -> None:
        event = self._tracks.events[self.events.row(item)]
        self._tracks.decide(event, item.checkState() == Qt.CheckState.Checked)

    def _on_clicked(self, item: QListWidgetItem) -> None:
        self._tracks.jump(self._tracks.events[self.events.row(item)])

    def _show(self) -> None:
        tracks = self._tracks
        ready = tracks.linked is not None
        self.look.setEnabled(not tracks.busy)
        self.make.setEnabled(ready and not tracks.busy)
        self.said.setText(tracks.said)
        self.show_row(self.cancel, tracks.busy)
        self.show_row(self.said, bool(tracks.said))
        self.show_row(self.events, bool(tracks.events))
        if tracks.linked is not self._shown:
            self._shown = tracks.linked
            self._fill()

    def _fill(self) -> None:
        with QSignalBlocker(self.events):
            self.events.clear()
            for event in self._tracks.events:
                item = QListWidgetItem(f"Frame {event.frame}: {_said(event)}")
                refused = event in self._tracks.refused
                item.setCheckState(Qt.CheckState.Unchecked if refused else Qt.CheckState.Checked)
                self.events.addItem(item)


def _said(event: Any) -> str:
    """A division or an ending in a line, with its evidence."""
    if hasattr(event, "children"):
        children = " + ".join(map(str, event.children))
        return f"{event.parent} -> {children} ({event.evidence:.2f})"
    frame, label = event.instead
    return f"{event.label} ends, else is {label} of frame {frame} ({event.evidence:.2f})"
