"""Registers the marker of the full-size suite."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "parity: full sizes beside the official packages; minutes")
