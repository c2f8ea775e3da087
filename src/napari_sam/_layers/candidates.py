"""The layer of candidates: shown, clicked on, and written to the output when they are committed.

Beside the binding, which owns the image and the output layer: this keeps the tool "Everything" and
its one layer in step. Knows no Qt.
"""

import colorsys
from collections.abc import Iterator
from typing import Any

import numpy as np
from napari.layers import Image, Labels
from napari.utils import DirectLabelColormap

from napari_sam._bulk import Bulk
from napari_sam._everything import Everything
from napari_sam._layers.binding import Binding
from napari_sam._layers.output import Later
from napari_sam._layers.planes import ROLE, same_space, shifted, spread
from napari_sam._sweep import COLORS, DROPPED, LabelsToWrite, Selection

GOLDEN_RATIO = 0.618034
DROPPED_COLOR = "#b0b0b0"
STILL_PIXELS = 3  # a press that moves no further than this is a click, on the screen


def make_candidates(image: Image) -> Labels:
    """An empty layer for the candidates of a plane."""
    colors: dict[int | None, Any] = {None: "transparent", 0: "transparent", DROPPED: DROPPED_COLOR}
    for number in range(COLORS):  # neighbours in number are far apart in hue
        colors[number + 1] = colorsys.hsv_to_rgb(number * GOLDEN_RATIO % 1, 0.8, 1.0)
    layer = Labels(
        np.zeros((1,) * image.ndim, np.uint8),
        name="candidates",
        opacity=0.5,
        visible=False,
        colormap=DirectLabelColormap(color_dict=colors),
        metadata={ROLE: "candidates"},
        **same_space(image),
    )
    layer.editable = False  # a brush would change the picture, not the candidates
    return layer


def show_candidates(layer: Labels, image: Image, selection: Selection) -> None:
    """Show a selection on its plane."""
    plane, step = selection.plane, selection.step
    middle = (step - 1) / 2  # of the first block of pixels
    scale = np.array(image.scale)
    scale[list(plane.axes)] *= step
    place = shifted(image, plane.lift(middle, middle))
    layer.data = spread(selection.preview, plane)
    if not np.array_equal(layer.scale, scale):  # else napari would draw it once more
        layer.scale = scale
    if not np.array_equal(layer.translate, place):
        layer.translate = place
    layer.visible = True


class CandidateLayer:
    """Keeps a tool and its layer in step.

    Parameters
    ----------
    binding
        Of the same dock: it has the image, the output, and removes our layers.
    everything
        The tool.
    bulk
        Keeps what is committed.
    later
        Calls something in another turn of the event loop: napari takes 20 to 30 ms for each of
        what happens here, and between them the mouse and the keys are heard.
    """

    def __init__(
        self, binding: Binding, everything: Everything, bulk: Bulk, *, later: Later
    ) -> None:
        self._binding = binding
        self._bulk = bulk
        self._later = later
        self._to_draw = False
        self._everything = everything
        binding.makers["candidates"] = self._make
        everything.selection_changed.connect(self._on_selection)
        everything.shown.connect(self._on_shown)
        everything.commit_requested.connect(self._on_commit)

    def _make(self, image: Image) -> Labels:
        layer = make_candidates(image)
        layer.mouse_drag_callbacks.append(self._on_press)
        layer.bind_key("Enter", lambda _: self._everything.commit())
        layer.bind_key("Escape", lambda _: self._everything.clear())
        layer.bind_key("Control-Z", lambda _: self._everything.session.undo())
        layer.bind_key("Control-Shift-Z", lambda _: self._everything.session.redo())
        return layer

    def _on_selection(self) -> None:
        layer = self._binding.own("candidates")
        if self._everything.selection is not None and self._binding.image is not None:
            self._to_draw = True
            self._later(self._show)
        elif layer is not None:
            layer.visible = False

    def _show(self) -> None:
        self._to_draw = False
        selection, image = self._everything.selection, self._binding.image
        if selection is None or image is None or self._binding.closed:
            return  # all this has gone meanwhile
        layer = self._binding.need("candidates")
        assert isinstance(layer, Labels)
        show_candidates(layer, image, selection)

    def _on_shown(self) -> None:
        if self._to_draw:
            self._later(lambda: self._later(self._bring_to_front))
        else:
            self._bring_to_front()

    def _bring_to_front(self) -> None:
        """So that clicks are for it."""
        layer = self._binding.own("candidates")
        if layer is not None and self._everything.selection is not None:
            layer.visible = True
            self._binding.activate(layer)

    def _on_press(self, layer: Labels, event: Any) -> Iterator[None]:
        """A click, which moves no further than a hand trembles; a drag moves the picture."""
        start = np.array(event.pos)
        yield
        while event.type == "mouse_move":
            yield
        selection = self._everything.selection
        still = np.abs(np.array(event.pos) - start).max() <= STILL_PIXELS
        if still and selection is not None:
            place = self._binding.place_on(selection.plane, event.position)
            if place is not None:
                self._everything.toggle(*place)

    def _on_commit(self, wanted: LabelsToWrite) -> None:
        say = self._everything.session.say
        image = self._binding.image
        if image is None or not self._binding.has_pixels_of(wanted.plane):
            say("Not committed: the image has changed since. Press Run again.")
            return
        self._bulk.keep(wanted, self._on_kept, overwrite=wanted.replace)

    def _on_kept(self, numbers: list[int]) -> None:
        what = (
            f"{len(numbers)} objects are labels {numbers[0]} to {numbers[-1]}"
            if numbers
            else ("Nothing was written: all of it is labelled already")
        )
        layer = self._binding.own("candidates")
        if layer is not None:
            layer.visible = False
        self._everything.session.say(f"{what}. Undo takes them back.")
