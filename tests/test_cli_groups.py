"""Dataclasses as groups of options."""

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from napari_sam._cli_groups import grouped


@dataclass(frozen=True)
class Place:
    path: Annotated[str, typer.Argument()]
    force: Annotated[bool, typer.Option("--force")] = False


@dataclass(frozen=True)
class Size:
    width: Annotated[int, typer.Option(min=1)] = 3


def test_fields_are_options_and_arrive_as_groups() -> None:
    arrived = []
    app = typer.Typer()

    @app.command()
    @grouped
    def command(size: Size, place: Place, verbose: bool = False) -> None:
        """Say what arrives."""
        arrived.append((size, place, verbose))

    runner = CliRunner()
    assert runner.invoke(app, ["here"]).exit_code == 0
    assert runner.invoke(app, ["x", "--width", "5", "--force", "--verbose"]).exit_code == 0
    assert arrived == [(Size(), Place("here"), False), (Size(5), Place("x", True), True)]
    assert runner.invoke(app, ["x", "--width", "0"]).exit_code == 2
    assert runner.invoke(app, []).exit_code == 2
    assert "Say what arrives" in runner.invoke(app, ["--help"]).stdout


def test_a_name_belongs_to_one_group() -> None:
    def command(one: Size, other: Size) -> None: ...

    with pytest.raises(TypeError, match="command have an option of one name"):
        grouped(command)
