"""Which layers of the viewer can be learned from: images with labels on the same pixels."""

from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_sam._finetune import Finetune, LabelledLayer
from napari_sam._layers import planes
from napari_sam._layers.binding import Binding
from napari_sam._predict import Plane


class FinetuneLayers:
    """Gives the tab Fine-tune the labelled layers of a viewer.

    Parameters
    ----------
    viewer, binding, finetune
        Of the same dock.
    """

    def __init__(self, viewer: ViewerModel, binding: Binding, finetune: Finetune) -> None:
        self._viewer, self._binding = viewer, binding
        finetune.find_pairs = self.find
        finetune.look()

    def find(self) -> tuple[LabelledLayer, ...]:
        """A pair for each Labels layer that lies on an image; the chosen image goes first."""
        layers = [layer for layer in self._viewer.layers if planes.ROLE not in layer.metadata]
        images = [layer for layer in layers if isinstance(layer, Image)]
        images.sort(key=lambda image: image is self._binding.image)
        found = []
        for labels in layers:
            if isinstance(labels, Labels):
                fitting = [image for image in images if _fits(labels, image)]
                if fitting:
                    found.append(_pair(labels, fitting[-1]))
        return tuple(found)


def _fits(labels: Labels, image: Image) -> bool:
    return (
        labels.ndim == image.ndim
        and shape_of(labels) == planes.shape_of(image)
        and (planes.same_grid(labels, image))
    )


def shape_of(labels: Labels) -> tuple[int, ...]:
    """Pixels along the axes; of a pyramid, of its finest level."""
    return tuple(int(n) for n in (labels.data[0] if labels.multiscale else labels.data).shape)


def _pair(labels: Labels, image: Image) -> LabelledLayer:
    data = image.data[0] if image.multiscale else image.data
    plane = Plane(None, data, (image.ndim - 2, image.ndim - 1), (0,) * image.ndim, rgb=image.rgb)
    drawn = labels.data[0] if labels.multiscale else labels.data
    return LabelledLayer(str(labels.unique_id), f"{image.name} + {labels.name}", plane, drawn)
