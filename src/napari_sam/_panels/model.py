"""Which model runs and on what; the one place from which a download starts."""

from dataclasses import replace

from qtpy.QtWidgets import QLabel

from napari_sam._panels.rows import Combo, Section, button
from napari_sam._session import Session
from napari_sam.core.registry import MODELS, ModelSpec


class ModelPanel(Section):
    """Model, its download, device and precision."""

    def __init__(self, session: Session) -> None:
        super().__init__("Model")
        self._session = session
        self.model = Combo("The first one is part of the package.", self._choose)
        self.download = button("Download", "", session.request_download)
        self.runtime = QLabel()
        self.runtime.setToolTip("Device, precision and number format.")
        self.add("Name", self.model)
        self.add_wide(self.download)
        self.add("Runs on", self.runtime)
        session.model_changed.connect(self._show)
        self._show()

    def _choose(self, name: object) -> None:
        self._session.choose_model(replace(self._session.model, name=str(name), weights=None))

    def _show(self) -> None:
        session, spec = self._session, self._session.spec
        self.model.fill([(m.name, m.title) for m in MODELS.values()], session.model.name)
        self.model.setToolTip(f"{spec.title}: {spec.description}\nLicence: {spec.licence}.")
        self.download.setVisible(not session.weights_here)
        self.download.setText(f"Download {_size(spec)}".strip())
        self.download.setToolTip(
            f"Fetch the weights of {spec.title} once, from {spec.url}.\n"
            f"Licence: {spec.licence}. {spec.licence_note}"
        )
        self.runtime.setText(session.runtime or "decided at first click")


def _size(spec: ModelSpec) -> str:
    return "" if spec.size_bytes is None else f"({spec.size_bytes / 1e6:,.0f} MB)"
