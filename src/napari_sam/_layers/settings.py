"""What the user has set in napari's Preferences, and hearing of changes there. Knows no Qt."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from napari.settings import get_plugin_settings

from napari_sam._preferences import Preferences

PLUGIN, PAGE = "napari-sam", "dock"


class Settings:
    """The page of the Preferences.

    Parameters
    ----------
    on_change
        Called with the settings before and after.
    """

    def __init__(self, on_change: Callable[[Preferences, Preferences], None]) -> None:
        self._on_change = on_change
        self._page = _page()
        self.now = _read(self._page)
        if self._page is not None:
            self._page.events.connect(self._on_event)

    def close(self) -> None:
        """Hear no more of changes."""
        if self._page is not None:
            self._page.events.disconnect(self._on_event)
            self._page = None

    def _on_event(self, event: Any = None) -> None:
        before, self.now = self.now, _read(self._page)
        if before != self.now:
            self._on_change(before, self.now)


def _page() -> Any:
    """None where napari does not know the plugin, as in a script that makes the dock itself."""
    try:
        return getattr(get_plugin_settings(PLUGIN), PAGE, None)
    except KeyError:
        return None


def _read(page: Any) -> Preferences:
    if page is None:
        return Preferences()
    return Preferences(**{one.name: getattr(page, one.name) for one in fields(Preferences)})
