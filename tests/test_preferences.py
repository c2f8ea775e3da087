"""napari's Preferences: every setting changes something, in a new dock and in an open one."""

import gc
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.settings import plugin_configuration_generator
from npe2 import PluginManager

import napari_sam
from napari_sam._layers import settings
from napari_sam._panels.series import ENDINGS
from napari_sam._preferences import NO_FILE, Preferences
from napari_sam._widget import SegmentAnything
from napari_sam._workplace import IntensityChoice
from napari_sam.core.registry import MODELS
from napari_sam.testing import FakePredictor

# Setting -> another value, and where a dock shows it.
SEEN = {
    "model": ("vit_b", lambda dock: dock.session.model.name),
    "intensity": ("as_is", lambda dock: dock.image_panel.intensity.currentData()),
    "hover": (True, lambda dock: dock.prompt_panel.hover.isChecked()),
    "overwrite": (True, lambda dock: dock.mask_panel.overwrite.isChecked()),
    "keep_overlaps": (True, lambda dock: dock.mask_panel.overlaps.isChecked()),
    "small_area": (77, lambda dock: dock.review.filter.least_area),
    "low_score": (0.25, lambda dock: dock.review.filter.least_score),
    "restore": (True, lambda dock: dock.series.restore),
    "series_labels": (".geojson", lambda dock: dock.series_panel.save.currentData()),
    "projects": (tempfile.gettempdir(), lambda dock: str(dock.session.projects)),
}


@pytest.fixture
def page(monkeypatch):
    manager = PluginManager()
    manager.register(str(Path(napari_sam.__file__).with_name("napari.yaml")))
    model = plugin_configuration_generator(manager)["napari-sam"]
    made = model(config_path=None)
    monkeypatch.setattr(settings, "get_plugin_settings", lambda name: made)
    return made.dock


@pytest.fixture
def open_dock(qtbot, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    opened = []

    def make():
        viewer = ViewerModel()
        viewer.add_image(np.zeros((40, 50), np.uint8), name="image")
        dock = SegmentAnything(viewer, load=lambda choice: FakePredictor())
        qtbot.addWidget(dock)
        opened.append(dock)
        return dock

    yield make
    for dock in opened:
        dock.shut()
    qtbot.waitUntil(
        lambda: not any(job.running for dock in opened for job in dock._jobs), timeout=60000
    )
    opened.clear()
    gc.collect()


def test_the_manifest_has_all_settings_with_our_defaults(page):
    assert set(type(page).model_fields) == {one.name for one in fields(Preferences)} == set(SEEN)
    assert Preferences(**{name: getattr(page, name) for name in SEEN}) == Preferences()
    schema = {name: one.json_schema_extra or {} for name, one in type(page).model_fields.items()}
    assert schema["model"]["enum"] == list(MODELS)
    assert schema["intensity"]["enum"] == list(get_args(IntensityChoice))
    assert schema["series_labels"]["enum"] == [one or NO_FILE for one, _ in ENDINGS]
    assert all(one.title and one.description for one in type(page).model_fields.values())


def test_every_setting_is_seen_in_a_new_dock_and_in_one_that_is_open(page, open_dock):
    early = open_dock()
    for name, (value, seen) in SEEN.items():
        assert seen(early) != value, name
        setattr(page, name, value)
        assert seen(early) == value, name
    late = open_dock()
    assert {name: seen(late) for name, (_, seen) in SEEN.items()} == {
        name: value for name, (value, _) in SEEN.items()
    }


def test_what_was_chosen_in_the_dock_stays_when_another_setting_changes(page, open_dock):
    dock = open_dock()
    dock.session.choose_intensity("as_is")
    page.hover = True
    assert dock.session.intensity == "as_is"
    assert dock.session.hovering


def test_a_closed_dock_hears_of_nothing(page, open_dock):
    dock = open_dock()
    dock.shut()
    page.overwrite = True
    assert not dock.session.overwrite


def test_without_the_manifest_the_defaults_hold(monkeypatch, open_dock):
    def unknown(name):
        raise KeyError(name)

    monkeypatch.setattr(settings, "get_plugin_settings", unknown)
    assert open_dock().session.model.name == Preferences().model
