"""What an earlier sitting has left of this image: bring it back, or not now."""

from datetime import datetime

from napari_sam._keeper import Keeper
from napari_sam._panels.rows import Section, button, line


class RestorePanel(Section):
    """An offer, seen only when there is one."""

    def __init__(self, keeper: Keeper) -> None:
        super().__init__("Earlier work on this image")
        self._keeper = keeper
        self.message = line()
        self.restore = button(
            "Restore",
            "Bring back labels, prompts, objects and all that can be undone, in a new layer.",
            keeper.request_restore,
        )
        self.dismiss = button("Not now", "Start afresh. The journal stays on disk.", keeper.dismiss)
        self.add_wide(self.message)
        self.add_wide(self.restore, self.dismiss)
        keeper.offer_changed.connect(self._show)
        self._show()

    def _show(self) -> None:
        offer = self._keeper.offer
        self.setVisible(offer is not None)
        if offer is not None:
            when = datetime.fromisoformat(offer.last).astimezone()
            self.message.setText(f"{offer.steps} steps, the last on {when:%d %b %Y at %H:%M}.")
            self.message.setToolTip(str(offer.path))
