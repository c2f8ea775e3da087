"""The layers in which a person makes prompts: the tool's layer in front, read, written.

Knows napari's layers and the session; knows no Qt. Adding layers to the viewer is the binding's
business.
"""

from collections.abc import Callable, Iterator
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image, Layer, Points, Shapes
from napari.layers.base import ActionType

from napari_sam._layers import drawings, planes, prompts
from napari_sam._prompt_set import PromptSet
from napari_sam._session import Session, Tool

EDITS = (ActionType.ADDED, ActionType.REMOVED, ActionType.CHANGED)
FLIP_KEYS = ("Alt", "Control")
MAKERS: dict[str, Callable[[Image], Layer]] = {
    "points": prompts.make_points,
    "boxes": prompts.make_boxes,
    "drawings": drawings.make_drawings,
}
TOOLS: dict[Tool, tuple[str, str]] = {  # its layer, and the layer's mode
    "positive": ("points", "add"),
    "negative": ("points", "add"),
    "box": ("boxes", "add_rectangle"),
    "scribble": ("drawings", "add_path"),
    "negative scribble": ("drawings", "add_path"),
    "lasso": ("drawings", "add_polygon_lasso"),
    "polygon": ("drawings", "add_polygon"),
    "ellipse": ("drawings", "add_ellipse"),
}
OPPOSITES: dict[Tool, Tool] = {
    "positive": "negative",
    "negative": "positive",
    "scribble": "negative scribble",
    "negative scribble": "scribble",
}
NEGATIVE: tuple[Tool, ...] = ("negative", "negative scribble")
SIGNED: tuple[Tool, ...] = tuple(OPPOSITES)


class PromptLayers:
    """The layers of points, boxes and drawings of one dock.

    Parameters
    ----------
    viewer, session
        Of the same dock.
    own
        Our layers by role, as far as they are there.
    need
        Gives our layer of a role, made if it is not there.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        session: Session,
        *,
        own: dict[str, Layer],
        need: Callable[[str], Layer],
    ) -> None:
        self._viewer = viewer
        self._session = session
        self._own = own
        self._need = need
        self._writing = False
        self.image: Image | None = None

    def bind(self, layer: Layer) -> None:
        """Hear of what the mouse does in a new layer of ours."""
        if isinstance(layer, (Points, Shapes)):
            layer.events.data.connect(self._on_edit)
            layer.bind_key("T", lambda _: self._flip_tool(), overwrite=True)
        if isinstance(layer, Points):
            layer.mouse_move_callbacks.append(self._on_move)
        if layer in (self._own.get("points"), self._own.get("drawings")):
            layer.events.features.connect(self._on_features)
            layer.mouse_drag_callbacks.append(self._on_press)
        drawings = self._own.get("drawings")
        if drawings is not None and layer is drawings:
            layer.bind_key("Enter", lambda _: self._finish(), overwrite=True)
            layer.bind_key("Escape", lambda _: self._drop(), overwrite=True)

    def show_tool(self) -> None:
        """Bring the tool's layer to the front, ready to draw."""
        if self.image is None:
            return
        role, mode = TOOLS[self._session.tool]
        layer = self._need(role)
        layer.visible = True
        self._viewer.layers.selection.active = layer
        layer.mode = mode
        if role != "boxes":
            self._set_sign(layer, negative=self._session.tool in NEGATIVE)

    def read(self) -> None:
        """Tell the session what the layers hold; a mask prompt has no layer and stays."""
        image, own = self.image, self._own
        if self._writing or image is None:
            return
        points, boxes, drawn = own.get("points"), own.get("boxes"), own.get("drawings")
        is_drawn = isinstance(drawn, Shapes)
        self._session.set_prompts(
            PromptSet(
                prompts.read_points(image, points) if isinstance(points, Points) else (),
                prompts.read_boxes(image, boxes) if isinstance(boxes, Shapes) else (),
                drawings.read_strokes(image, drawn) if is_drawn else (),
                drawings.read_outlines(image, drawn) if is_drawn else (),
                self._session.prompts.mask,
            )
        )

    def write(self, wanted: PromptSet) -> None:
        """Make the layers show these prompts and no others."""
        if self.image is None:
            return
        self._writing = True
        try:
            points = self._layer("points", bool(wanted.points))
            if isinstance(points, Points):
                prompts.write_points(wanted.points, self.image, points)
            boxes = self._layer("boxes", bool(wanted.boxes))
            if isinstance(boxes, Shapes):
                prompts.write_boxes(wanted.boxes, self.image, boxes)
            drawn = self._layer("drawings", bool(wanted.strokes or wanted.outlines))
            if isinstance(drawn, Shapes):
                mode, drawn.mode = drawn.mode, "pan_zoom"  # ends what is half drawn
                drawings.write_drawings(wanted.strokes, wanted.outlines, self.image, drawn)
                drawn.mode = mode
        finally:
            self._writing = False

    def _layer(self, role: str, needed: bool) -> Layer | None:
        return self._need(role) if needed else self._own.get(role)

    @property
    def _half_drawn(self) -> bool:
        """Whether a shape is begun that nobody has heard of yet."""
        drawn, known = self._own.get("drawings"), self._session.prompts
        count = drawn.nshapes if isinstance(drawn, Shapes) else 0
        return count > len(known.strokes) + len(known.outlines)

    def _finish(self) -> None:
        """End a polygon at its last corner; with nothing half drawn, keep the masks."""
        drawn = self._own["drawings"]
        if self._half_drawn and isinstance(drawn, Shapes):
            mode, drawn.mode = drawn.mode, "pan_zoom"  # napari finishes the shape then
            drawn.mode = mode
        else:
            self._session.commit()

    def _drop(self) -> None:
        """Drop what is half drawn; with nothing half drawn, all prompts."""
        if self._half_drawn:
            self.write(self._session.prompts)
        else:
            self._session.clear()

    def _flip_tool(self) -> None:
        session = self._session
        session.choose_tool(OPPOSITES.get(session.tool, session.tool))

    def _on_press(self, layer: Any, event: Any) -> Iterator[None]:
        """Set the sign of what this click adds: a point on release, a scribble at once."""
        tool = self._session.tool
        if layer.mode.startswith("add"):
            flipped = any(key in event.modifiers for key in FLIP_KEYS)
            self._set_sign(layer, negative=tool in SIGNED and (flipped or tool in NEGATIVE))
        yield

    def _set_sign(self, layer: Any, *, negative: bool) -> None:
        sign = "negative" if negative else "positive"
        if isinstance(layer, Shapes):
            drawings.set_sign(layer, sign)
        else:
            layer.feature_defaults = {"sign": sign}

    def _on_move(self, layer: Points, event: Any) -> None:
        """The mouse moves over the picture, no button pressed."""
        if self._session.hovering and layer.mode == "add" and self.image is not None:
            at = planes.to_pixels(self._viewer, self.image, event.position)
            self._session.hover(tuple(map(float, at)))

    def _on_edit(self, event: Any) -> None:
        if event.action in EDITS:
            self.read()

    def _on_features(self, event: Any = None) -> None:
        layers = (self._own.get("points"), self._own.get("drawings"))
        if all(layer is None or len(layer.features) == len(layer.data) for layer in layers):
            self.read()
