"""What a user sets once, in napari's Preferences: with what a dock begins. No Qt, no napari."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

from napari_sam._review import Review
from napari_sam._series import Series
from napari_sam._session import Session
from napari_sam._workplace import IntensityChoice

NO_FILE = "none"


@dataclass(frozen=True)
class Preferences:
    """The settings of the manifest (``configurations``), under the same names.

    Attributes
    ----------
    model
        Name of the model to begin with.
    intensity
        How pixel values become what the model sees.
    hover
        Whether the mask under the mouse is shown before the click.
    overwrite
        Whether a mask may take pixels of other objects.
    keep_overlaps
        Whether an object remembers its pixels on which others lie.
    small_area, low_score
        Below these an object is listed as small, or as one of low score.
    restore
        Whether earlier work on an image of a series comes back without asking.
    series_labels
        Ending of the files in which labels of a series are saved; ``"none"``: in none.
    projects
        Folder for the journals of all images; empty: beside each image.
    """

    model: str = "tiny"
    intensity: IntensityChoice = "percentile"
    hover: bool = False
    overwrite: bool = False
    keep_overlaps: bool = False
    small_area: int = 50
    low_score: float = 0.7
    restore: bool = False
    series_labels: str = NO_FILE
    projects: str = ""


@dataclass(frozen=True, eq=False)
class Followers:
    """The states of a dock that preferences speak of."""

    session: Session
    review: Review
    series: Series

    def begin(self, wanted: Preferences) -> None:
        """Set up a new dock, but for its model: that is chosen before."""
        for one in fields(Preferences):
            if one.name != "model":
                _FOLLOW[one.name](self, wanted)

    def change(self, before: Preferences, after: Preferences) -> None:
        """The user has changed the preferences: follow, and leave all else as it is."""
        for one in fields(Preferences):
            if getattr(before, one.name) != getattr(after, one.name):
                _FOLLOW[one.name](self, after)


def _model(here: Followers, wanted: Preferences) -> None:
    here.session.choose_model(replace(here.session.model, name=wanted.model, weights=None))


def _intensity(here: Followers, wanted: Preferences) -> None:
    here.session.choose_intensity(wanted.intensity)


def _hover(here: Followers, wanted: Preferences) -> None:
    here.session.set_hovering(wanted.hover)


def _overwrite(here: Followers, wanted: Preferences) -> None:
    here.session.set_overwrite(wanted.overwrite)


def _keep_overlaps(here: Followers, wanted: Preferences) -> None:
    here.session.set_keep_overlaps(wanted.keep_overlaps)


def _limits(here: Followers, wanted: Preferences) -> None:
    here.review.set_filter(least_area=wanted.small_area, least_score=wanted.low_score)


def _series(here: Followers, wanted: Preferences) -> None:
    here.series.set_up(
        restore=wanted.restore,
        save_as="" if wanted.series_labels == NO_FILE else wanted.series_labels,
    )


def _projects(here: Followers, wanted: Preferences) -> None:
    text = wanted.projects.strip()
    here.session.set_projects(Path(text).expanduser() if text else None)


_FOLLOW: dict[str, Callable[[Followers, Preferences], None]] = {
    "model": _model,
    "intensity": _intensity,
    "hover": _hover,
    "overwrite": _overwrite,
    "keep_overlaps": _keep_overlaps,
    "small_area": _limits,
    "low_score": _limits,
    "restore": _series,
    "series_labels": _series,
    "projects": _projects,
}
