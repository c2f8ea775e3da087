"""Which model runs and on what; the one place from which a download starts."""

from dataclasses import replace
from typing import Any

from superqt import QElidingLabel

from napari_sam._panels.rows import Combo, Section, button
from napari_sam._session import Session
from napari_sam.core.engines import TITLES, Backend, installed_engines, why_not
from napari_sam.core.registered import all_models
from napari_sam.core.registry import ModelSpec

_PRECISIONS = {"exact": "Exact (float32)", "fast": "Fast (bfloat16)"}


class ModelPanel(Section):
    """Model, its download, precision and backend, and what runs in the end."""

    def __init__(self, session: Session) -> None:
        super().__init__("Model")
        self._session = session
        self.model = Combo(
            "The first one is part of the package.", self._choose, on_open=self._fill_models
        )
        self.download = button("Download", "", session.request_download)
        self.precision = Combo(_PRECISION_TIP, lambda value: self._change(precision=value))
        self.backend = Combo(_BACKEND_TIP, lambda value: self._change(backend=value))
        self._backends: tuple[Backend, ...] = ("auto", *installed_engines())
        self.runtime = QElidingLabel()  # in a row's second column the text would be cut in two
        self.add("Name", self.model)
        self.add_wide(self.download)
        self.add("Precision", self.precision)
        self.add("Backend", self.backend)
        self.add_wide(self.runtime)
        session.model_changed.connect(self._show)
        self._show()

    def _choose(self, name: object) -> None:
        self._change(name=str(name), weights=None)

    def _change(self, **changes: Any) -> None:
        self._session.choose_model(replace(self._session.model, **changes))

    def _show(self) -> None:
        session, spec = self._session, self._session.spec
        self._fill_models()
        self.model.setToolTip(f"{spec.title}: {spec.description}\nLicence: {spec.licence}.")
        self.download.setVisible(not session.weights_here)
        self.download.setText(f"Download {_size(spec)}".strip())
        self.download.setToolTip(
            f"Fetch the weights of {spec.title} once, from {spec.url}.\n"
            f"Licence: {spec.licence}. {spec.licence_note}"
        )
        self._show_engines()
        self.runtime.setText(f"Runs on: {session.runtime or 'decided at first click'}")
        self.runtime.setToolTip(f"Device, precision, number format, backend: {session.runtime}")

    def _fill_models(self) -> None:
        """Those made on this machine too; one may have been finished while the window was open."""
        models = [(m.name, m.title) for m in all_models().values()]
        self.model.fill(models, self._session.model.name)

    def _show_engines(self) -> None:
        """What does not go together cannot be chosen, and says why."""
        choice = self._session.model
        self.precision.fill(list(_PRECISIONS.items()), choice.precision)
        self.backend.fill([(name, TITLES[name]) for name in self._backends], choice.backend)
        for precision in _PRECISIONS:
            reason = why_not(choice.backend, precision, device=choice.device)
            if reason:
                self.precision.disable(precision, reason)
        for backend in self._backends:
            reason = why_not(backend, choice.precision, device=choice.device)
            if reason:
                self.backend.disable(backend, reason)


_PRECISION_TIP = (
    "Exact: the numbers of the published model. Fast: about half the time, where the CPU or GPU"
    " multiplies bfloat16; edges may move by a pixel."
)
_BACKEND_TIP = (
    "What computes the image embedding. Automatic: the fastest known here. OpenVINO and ONNX"
    " Runtime are offered where they are installed."
)


def _size(spec: ModelSpec) -> str:
    return "" if spec.size_bytes is None else f"({spec.size_bytes / 1e6:,.0f} MB)"
