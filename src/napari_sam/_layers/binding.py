"""Keeps a session and the layers of its viewer in step: makes, reads, writes and drops our layers.

Knows napari's layers and the session; knows no Qt. What must not happen in the middle of a napari
event (adding a layer while one is added) goes through ``later``.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeGuard

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from numpy.typing import NDArray

from napari_sam._label_edit import LabelEdit
from napari_sam._layers import channels, output, planes, preview
from napari_sam._layers.prompt_layers import MAKERS, PromptLayers
from napari_sam._predict import Plane
from napari_sam._session import LayerRef, Session
from napari_sam.errors import NapariSamError

BOUND = (*MAKERS, "preview")  # layers of ours that have our keys
OUTPUT_KEYS = (
    "Control-Z",
    "Control-Shift-Z",
    "N",
    "Shift-N",
    "R",
    "PageUp",
    "PageDown",
)  # on a layer of the user's


class Binding:
    """The layers of one dock.

    Parameters
    ----------
    viewer, session
        What is kept in step.
    later
        Calls a function after the present event; the dock gives a zero timer.
    """

    def __init__(self, viewer: ViewerModel, session: Session, *, later: output.Later) -> None:
        self._viewer = viewer
        self._session = session
        self._later = later
        self._image: Image | None = None
        self._revision = 0
        self._own: dict[str, Layer] = {}
        self.makers: dict[str, Callable[[Image], Layer]] = {
            **MAKERS,
            "preview": preview.make_preview,
        }
        self._prompts = PromptLayers(viewer, session, own=self._own, need=self.need)
        self.make_output = output.make_output
        self._labels: dict[str, output.OutputLabels] = {}
        self._binders: list[Callable[[Layer], None]] = []
        self._closed = False
        self._slots: list[tuple[Any, Callable[..., Any]]] = [
            (session.layers_changed, self._on_choice),
            (session.tool_changed, self._prompts.show_tool),
            (session.channels_changed, self._on_view),
            (session.prompts_replaced, self._prompts.write),
            (session.preview_changed, self._on_preview),
            (session.output_requested, self._on_output_requested),
            (session.document_changed, self._on_document),
            (session.objects_changed, self._on_preview),
            (session.selection_changed, self._on_selection),
        ]
        layers, dims = viewer.layers.events, viewer.dims.events
        for event in (layers.inserted, layers.removed, layers.renamed):
            self._slots.append((event, self._on_layers))
        for event in (dims.point, dims.order, dims.ndisplay, dims.ndim):
            self._slots.append((event, self._on_view))
        for signal, slot in self._slots:
            signal.connect(slot)
        self._on_layers()

    @property
    def closed(self) -> bool:
        """Whether the dock is gone: what was put off to a later turn finds out by this."""
        return self._closed

    def close(self, *, viewer_lives: bool = True) -> None:
        """Let go of the viewer; our own helper layers go, the Labels stay."""
        if self._closed:
            return
        self._closed = True
        for signal, slot in self._slots:
            signal.disconnect(slot)
        self._watch(None)
        for labels in self._labels.values():
            _unbind(labels)
        self._labels.clear()
        if viewer_lives:
            self._drop_own()

    def add_picture(self, picture: NDArray[np.uint8], plane: Plane) -> None:
        """Add the layer of what the model sees."""
        if self._image is not None and self._is_current(plane):
            self._add(preview.make_picture(picture, self._image, plane))

    # --- which layers there are --------------------------------------------------------------

    def _on_layers(self, event: Any = None) -> None:
        here = {_ref(layer).token for layer in self._viewer.layers}
        for token in set(self._labels) - here:
            _unbind(self._labels.pop(token))
        removed = {role for role, layer in self._own.items() if layer not in self._viewer.layers}
        for role in removed:
            self._own.pop(role)
        if removed & set(MAKERS):
            self._prompts.read()
        layers = [layer for layer in self._viewer.layers if planes.ROLE not in layer.metadata]
        self._session.set_layers(
            tuple(_ref(layer) for layer in layers if self._is_users_image(layer)),
            tuple(_ref(layer) for layer in layers if isinstance(layer, Labels)),
        )

    def _on_choice(self) -> None:
        chosen = self._find(self._session.image)
        image = chosen if isinstance(chosen, Image) else None
        if image is not self._image:
            self._watch(image)
            self._later(self._start_image)
        self._on_view()

    def _start_image(self) -> None:
        """A new image: helper layers of its own, ready for the first click."""
        if self._closed:
            return
        self._drop_own()
        if self._image is not None:
            self.need("preview")  # now: a layer's controls take napari 0.2 s to build
            self._prompts.show_tool()

    def _watch(self, image: Image | None) -> None:
        if self._image is not None:
            self._image.events.data.disconnect(self._on_data)
            self._image.events.contrast_limits.disconnect(self._on_contrast)
        self._image = self._prompts.image = image
        self._revision += 1
        if image is not None:
            image.events.data.connect(self._on_data)
            image.events.contrast_limits.connect(self._on_contrast)
            self._on_contrast()
            self._session.set_source(planes.source_of(image))

    def _on_data(self, event: Any = None) -> None:
        self._revision += 1
        self._on_view()

    def _on_contrast(self, event: Any = None) -> None:
        if self._image is not None:
            limits = None if self._image.rgb else tuple(map(float, self._image.contrast_limits))
            self._session.contrast_limits = limits  # type: ignore[assignment]

    def _on_view(self, event: Any = None) -> None:
        if self._closed:
            return
        if self._image is None:
            self._session.set_plane(None, "Open an image first: File > Open, or a sample.")
            return
        plane = planes.current_plane(self._viewer, self._image, self._revision)
        if isinstance(plane, str):
            self._session.set_plane(None, plane)
            return
        images = [layer for layer in self._viewer.layers if self._is_users_image(layer)]
        self._session.set_channel_options(channels.options(self._image, images, plane.axes))
        plane = channels.mix(plane, self._session.channels, self._image, images)
        self._session.set_plane(plane)
        self._on_preview()

    def _is_users_image(self, layer: Layer) -> TypeGuard[Image]:
        return isinstance(layer, Image) and planes.ROLE not in layer.metadata

    def _is_current(self, plane: Plane) -> bool:
        image = self._image
        return image is not None and plane.key[0] == image.unique_id  # type: ignore[index]

    def has_pixels_of(self, plane: Plane) -> bool:
        """Whether the image still has the pixels that a plane was made of."""
        return bool(plane.key[:3] == self.pixels)  # type: ignore[index]

    def place_on(self, plane: Plane, position: Sequence[float]) -> tuple[float, float] | None:
        """(y, x) on a plane of the image of a position in the viewer; None: on another plane."""
        if self._image is None:
            return None
        pixels = planes.to_pixels(self._viewer, self._image, position)
        return plane.project(tuple(map(float, pixels)))

    def under_the_mouse(self) -> tuple[float, ...] | None:
        """Where the mouse is, in pixels of the image."""
        if self._image is None or self._session.plane is None:
            return None
        position = self._viewer.cursor.position
        return tuple(map(float, planes.to_pixels(self._viewer, self._image, position)))

    # --- our own layers ----------------------------------------------------------------------

    @property
    def image(self) -> Image | None:
        """The image layer that is worked on."""
        return self._image

    @property
    def pixels(self) -> tuple[Hashable, ...]:
        """What tells the pixels of the image from others, also from its own before an edit."""
        image = self._image
        if image is None:
            return ()
        data = image.data[0] if image.multiscale else image.data
        return (image.unique_id, id(data), self._revision)

    def own(self, role: str) -> Layer | None:
        """Our layer of this role, if it is there."""
        return self._own.get(role)

    def output_labels(self) -> output.OutputLabels | None:
        """The labels that are drawn on, if there are any."""
        return self._labels.get(self._session.output or "")

    def bind_too(self, bind: Callable[[Layer], None]) -> None:
        """Somebody else has keys for the layers of prompts, the preview and the output."""
        self._binders.append(bind)
        for role in BOUND:
            if role in self._own:
                bind(self._own[role])

    def activate(self, layer: Layer) -> None:
        """Let the mouse and the keys be for this layer."""
        self._viewer.layers.selection.active = layer

    def _drop_own(self) -> None:
        mine = [layer for layer in self._own.values() if layer in self._viewer.layers]
        self._own.clear()
        if not mine:
            return
        with self._viewer.layers.batched_update():  # else napari collects garbage after each
            for layer in mine:
                self._viewer.layers.remove(layer)

    def need(self, role: str) -> Layer:
        """Our layer of this role, made if it is not there."""
        assert self._image is not None
        if role not in self._own:
            self._own[role] = layer = self.makers[role](self._image)
            self._add(layer)
            if role in BOUND:
                self._bind(layer)
        return self._own[role]

    def _add(self, layer: Layer) -> None:
        """Add below the layers of prompts, and leave the active layer active."""
        active = self._viewer.layers.selection.active
        self._viewer.add_layer(layer)
        order = self._viewer.layers
        for role in ("tiles", "candidates", "preview", "drawings", "boxes", "points"):
            own = self._own.get(role)
            if own is not None and own in order:
                order.move(order.index(own), len(order))
        if active is not None and active in order:
            order.selection.active = active

    def _bind(self, layer: Layer) -> None:
        session = self._session
        layer.bind_key("Enter", lambda _: session.commit())
        layer.bind_key("Escape", lambda _: session.clear())
        layer.bind_key("Control-Z", lambda _: session.undo())
        layer.bind_key("Control-Shift-Z", lambda _: session.redo())
        layer.bind_key("C", lambda _: session.step_candidate())
        layer.bind_key("Shift-C", lambda _: session.step_candidate(-1))
        self._prompts.bind(layer)
        layer.bind_key("H", lambda _: session.set_hovering(not session.hovering), overwrite=True)
        layer.bind_key("M", lambda _: session.step_mode(), overwrite=True)
        for bind in self._binders:
            bind(layer)

    # --- masks -------------------------------------------------------------------------------

    def _on_preview(self) -> None:
        """Masks that are not kept; where there are none, the outlines of the selected objects."""
        if self._closed or self._image is None:
            return
        plane, patches = self._session.shown
        outlines = [] if patches else self._session.outlines
        if "preview" not in self._own and not patches and not outlines:
            return
        layer = self.need("preview")
        assert isinstance(layer, Labels)
        if outlines:
            preview.show_outlines(layer, self._image, plane=self._session.plane, patches=outlines)
        else:
            preview.show_preview(layer, self._image, plane=plane, patches=patches)

    def _on_selection(self) -> None:
        """The brush draws on the selected object."""
        labels = self._labels.get(self._session.output or "")
        if labels is not None and self._session.selection:
            labels.layer.selected_label = self._session.selection[0]
        self._on_preview()

    # --- output ------------------------------------------------------------------------------

    def _on_output_requested(self) -> None:
        """Give the session labels to draw on: the chosen layer, if it fits, or a new one."""
        if self._image is None:
            return
        chosen = self._find(self._session.output)
        try:
            if isinstance(chosen, Labels):
                output.check_output(chosen, self._image)
                self._adopt(chosen)
            else:
                made = self.make_output(self._image)
                self._add(made)
                self._adopt(made, highest=0)
        except (NapariSamError, OSError, MemoryError) as error:
            self._session.say(f"Not kept: {error}")

    def _on_document(self) -> None:
        """A layer that was chosen as output is listed at once, if it can be."""
        chosen = self._find(self._session.output)
        if isinstance(chosen, Labels) and self._session.document.labels is None:
            self._on_output_requested()

    def _adopt(self, layer: Labels, *, highest: int | None = None) -> None:
        token = _ref(layer).token
        if token not in self._labels:
            self._labels[token] = output.open_labels(
                layer,
                highest=highest,
                on_stroke=lambda edit: self._on_stroke(token, edit),
                on_replaced=lambda: self._session.forget(token),
                later=self._later,
            )
            layer.bind_key("Control-Z", lambda _: self._session.undo(), overwrite=True)
            layer.bind_key("Control-Shift-Z", lambda _: self._session.redo(), overwrite=True)
            for bind in self._binders:
                bind(layer)
        known = highest is None  # of a new layer there is nothing to list
        large = np.prod(layer.data.shape, dtype=float) > output.LISTED_AT_ONCE
        self._session.adopt(
            token, self._labels[token], survey=known, by_plane=known and bool(large)
        )

    def _on_stroke(self, token: str, edit: LabelEdit) -> None:
        if token == self._session.output:
            self._session.stroke(edit)

    def _find(self, token: str | None) -> Layer | None:
        return next((layer for layer in self._viewer.layers if _ref(layer).token == token), None)


def _unbind(labels: output.OutputLabels) -> None:
    labels.close()
    for key in OUTPUT_KEYS:
        labels.layer.bind_key(key, None)


def _ref(layer: Layer) -> LayerRef:
    return LayerRef(str(layer.unique_id), layer.name)
