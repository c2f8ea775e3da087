"""Which image is looked at, how its values become a picture, and where the objects go."""

from qtpy.QtCore import QSignalBlocker

from napari_sam._panels.rows import Combo, Section, button, number_box, side_by_side
from napari_sam._session import Session

INTENSITIES = (
    ("percentile", "Automatic"),
    ("per-channel", "Automatic, by channel"),
    ("contrast limits", "As displayed"),
    ("fixed", "Fixed range"),
    ("as_is", "Untouched 8-bit"),
)
NEW_LAYER = (None, "New labels layer")


class ImagePanel(Section):
    """Image layer, intensity, output layer."""

    def __init__(self, session: Session) -> None:
        super().__init__("Image")
        self._session = session
        self.image = Combo("The image layer to segment.", self._choose_image)
        self.output = Combo(
            "The Labels layer that takes the objects. It must have the image's pixels;"
            " a new one is made for you at the first object.",
            self._choose_output,
        )
        self.intensity = Combo(
            "How pixel values become what the model sees.\n"
            "Automatic: from the 0.3 to the 99.7 percentile of the plane.\n"
            "Automatic, by channel: the same for each channel of its own.\n"
            "As displayed: the contrast limits of the layer, when you click.\n"
            "Fixed range: these two values are black and white, in all planes and images.\n"
            "Untouched 8-bit: 8-bit grey or RGB images, exactly as they are.",
            self._choose_intensity,
        )
        self.picture = button(
            "What the model sees",
            "Add a layer with the very picture that the model gets.",
            session.request_picture,
        )
        self.low, self.high = (
            number_box(f"The value that is {what}.", self._set_range) for what in ("black", "white")
        )
        self.range = side_by_side(self.low, self.high)
        self.channels = Combo(
            "What the model sees of several channels: the one in view, or more of them. Two, or"
            " more than three, are laid over each other; three are red, green and blue.",
            lambda key: session.choose_channels(None if key is None else str(key)),
        )
        self.add("Layer", self.image)
        self.add("Channels", self.channels)
        self.add("Intensity", self.intensity)
        self.add_wide(self.range)
        self.add("Output", self.output)
        self.add_wide(self.picture)
        session.layers_changed.connect(self._show_layers)
        session.intensity_changed.connect(self._show_intensity)
        session.channels_changed.connect(self._show_channels)
        self._show_channels()
        self._show_layers()
        self._show_intensity()

    def _choose_image(self, token: object) -> None:
        self._session.choose_image(None if token is None else str(token))

    def _choose_output(self, token: object) -> None:
        self._session.choose_output(None if token is None else str(token))

    def _choose_intensity(self, choice: object) -> None:
        self._session.choose_intensity(choice)  # type: ignore[arg-type]

    def _show_layers(self) -> None:
        session = self._session
        self.image.fill([(ref.token, ref.name) for ref in session.images], session.image)
        outputs = [NEW_LAYER, *((ref.token, ref.name) for ref in session.outputs)]
        self.output.fill(outputs, session.output)

    def _show_intensity(self) -> None:
        session = self._session
        self.intensity.fill(INTENSITIES, session.intensity)
        self.show_row(self.range, session.intensity == "fixed")
        for box, value in zip((self.low, self.high), session.fixed_range or (0, 255), strict=True):
            with QSignalBlocker(box):
                box.setValue(value)

    def _set_range(self, _: float) -> None:
        self._session.set_fixed_range(self.low.value(), self.high.value())

    def _show_channels(self) -> None:
        session = self._session
        self.channels.fill([(None, "The one in view"), *session.channel_options], session.channels)
        self.show_row(self.channels, bool(session.channel_options))
