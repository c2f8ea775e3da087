"""Crops of a batch: how many, how large, how many objects. Torch-free, frozen."""

from dataclasses import dataclass

from napari_sam.errors import TrainingError

MOST_OBJECTS = 64


@dataclass(frozen=True)
class CropShape:
    """One kind of batch: ``images`` crops of ``size`` pixels with ``objects`` prompts each.

    Attributes
    ----------
    size
        Side in pixels, a multiple of 16.
    images
        Crops of a batch.
    objects
        Objects asked about in each crop, at most 64; fewer where a crop has few.
    share
        Weight among the kinds of batches.
    """

    size: int
    images: int
    objects: int
    share: float

    def __post_init__(self) -> None:
        """Refuse what no network takes."""
        if self.size < 32 or self.size % 16:
            raise TrainingError(
                f"crops of {self.size} pixels: the size must be a multiple of 16, at least 32."
            )
        if self.images < 1 or not 1 <= self.objects <= MOST_OBJECTS or not self.share >= 0:
            raise TrainingError(
                f"{self}: at least one image, 1 to {MOST_OBJECTS} objects, a share of 0 or more."
            )

    @classmethod
    def parse(cls, text: str) -> "CropShape":
        """Read ``SIZExIMAGESxOBJECTS:SHARE``, such as ``256x4x6:0.6``.

        Raises
        ------
        TrainingError
            The text is of another form.
        """
        sizes, _, share = text.partition(":")
        try:
            size, images, objects = (int(part) for part in sizes.split("x"))
            return cls(size, images, objects, float(share or 1))
        except ValueError as error:
            if isinstance(error, TrainingError):
                raise
            raise TrainingError(
                f"{text!r} is no kind of crops: write SIZExIMAGESxOBJECTS:SHARE, as in 256x4x6:0.6"
            ) from error
