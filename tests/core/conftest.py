"""Fixtures of the core's tests."""

from collections.abc import Iterator

import pytest

from napari_sam.core.native import library


@pytest.fixture(params=["compiled", "torch"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """With the compiled library (skipped where it cannot be made), and without it."""
    if request.param == "torch":
        monkeypatch.setenv(library.SWITCH, "off")
    library.forget_library()
    if request.param == "compiled":
        if reason := library.why_no_library():
            pytest.skip(f"no compiled library: {reason}")
        library.load_library()
    yield request.param
    library.forget_library()
