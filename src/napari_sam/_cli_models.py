"""``napari-sam models``: list, download, verify. Shows what registry and weights know."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import DownloadColumn, TransferSpeedColumn
from rich.table import Table

from napari_sam._cli_follow import follow
from napari_sam._cli_options import (
    Backend,
    BackendName,
    Device,
    ModelName,
    Precision,
    PrecisionName,
    Verbose,
    WeightsPath,
)
from napari_sam.core.registered import all_models, forget, models_folder, register
from napari_sam.core.registry import DEFAULT_MODEL, ModelSpec, get_spec

if TYPE_CHECKING:
    from napari_sam.core.predictor import Predictor
    from napari_sam.volume.model import PredictorSource

__all__ = ["Engine", "app", "fetch", "load"]

app = typer.Typer(no_args_is_help=True, help="Which models there are; get them, check them.")

Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="See: models list.")]


@app.command("list")
def list_models(verbose: Verbose = False) -> None:
    """Show the models, and which of them are on this machine."""
    from napari_sam.core.weights import cache_folder, find

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("name", no_wrap=True, style="cyan")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("where", no_wrap=True)
    table.add_column("licence", no_wrap=True)
    table.add_column("for")
    for spec in all_models().values():
        here = "in the package" if spec.bundled else "made here" if spec.like else "downloaded"
        where = here if find(spec) else "to download" if spec.url else "missing"
        table.add_row(spec.name, _megabytes(spec), where, spec.licence, spec.description)
    console = Console()
    console.print(table)
    console.print(f"\nDownloads go to {cache_folder()}", highlight=False, soft_wrap=True)
    console.print(f"Models made here lie in {models_folder()}", highlight=False, soft_wrap=True)


@app.command("download")
def download_models(names: Names, verbose: Verbose = False) -> None:
    """Download models and check them. An interrupted download goes on where it stopped."""
    for spec in [get_spec(name) for name in names]:
        path = fetch(spec)
        typer.echo(f"{spec.name}: {path}")


@app.command("verify")
def verify_models(names: Names, verbose: Verbose = False) -> None:
    """Compare files on this machine with their published hashes."""
    from napari_sam.core.weights import verify, weights_path

    for spec in [get_spec(name) for name in names]:
        path = weights_path(spec)
        verify(spec, path)
        typer.echo(f"{spec.name}: {path} is {_hash(spec)}")


@app.command("add")
def add_model(
    name: Annotated[str, typer.Argument(help="Its name from now on.")],
    weights: Annotated[Path, typer.Argument(help="A .safetensors file; it is copied.")],
    like: Annotated[
        str, typer.Option(metavar="NAME", help="The model whose architecture it has.")
    ] = DEFAULT_MODEL,
    verbose: Verbose = False,
) -> None:
    """Register weights of your own, so that --model and the dock know them by name."""
    from napari_sam.core.network import load_model

    load_model(get_spec(like), weights=weights)  # refuses what does not fit
    spec = register(name, weights, like=like, made={"file": str(weights)})
    typer.echo(f"{spec.name}: {spec.file_name}")


@app.command("remove")
def remove_models(names: Names, verbose: Verbose = False) -> None:
    """Delete models that were made or added on this machine, with their weights."""
    for name in names:
        forget(name)
        typer.echo(f"{name}: removed")


def fetch(spec: ModelSpec) -> str:
    """Make sure that a model's weights are on this machine, with a bar; return their path.

    Raises
    ------
    WeightsError
        See :func:`napari_sam.core.weights.download`.
    """
    from napari_sam.core.weights import download, find

    if spec.bundled and (path := find(spec)):
        return str(path)
    units = (DownloadColumn(), TransferSpeedColumn())
    return str(follow(download(spec), *units, start=f"checking {spec.title}"))


def load(
    model: str, weights: Path | None, device: str, precision: Precision, backend: Backend
) -> "Predictor":
    """The predictor of a command; its weights are fetched first if they are not here."""
    from napari_sam import load_predictor

    _prepare(model, weights, device, precision, backend)
    return load_predictor(
        model,
        weights=weights,
        device=device,
        precision=precision.value,  # type: ignore[arg-type]
        backend=backend.value,
    )


def _prepare(
    model: str, weights: Path | None, device: str, precision: Precision, backend: Backend
) -> None:
    """Have the weights on this machine; what cannot work is said before a download."""
    from napari_sam.core.engines import check_choice
    from napari_sam.core.weights import find

    spec = get_spec(model)
    check_choice(backend.value, precision.value, device=device)
    if weights is None and find(spec) is None:
        fetch(spec)


@dataclass(frozen=True)
class Engine:
    """Which model, and what computes it."""

    model: ModelName = DEFAULT_MODEL
    weights: WeightsPath = None
    device: Device = "auto"
    precision: PrecisionName = Precision.EXACT
    backend: BackendName = Backend.AUTO

    def load(self) -> "Predictor":
        """The predictor."""
        return load(self.model, self.weights, self.device, self.precision, self.backend)

    def choice(self) -> "PredictorSource":
        """The same as a value that can be sent to other processes; its weights are here."""
        from napari_sam.volume.model import ModelChoice

        _prepare(self.model, self.weights, self.device, self.precision, self.backend)
        path = str(self.weights) if self.weights else None
        precision: Any = self.precision.value  # refused above where it is no choice
        return ModelChoice(self.model, path, self.device, precision, self.backend.value)


def _megabytes(spec: ModelSpec) -> str:
    from napari_sam.core.weights import find

    path = find(spec)
    size = path.stat().st_size if path else spec.size_bytes
    return f"{size / 1e6:,.0f} MB" if size else ""


def _hash(spec: ModelSpec) -> str:
    return f"as published ({spec.hash})" if spec.hash else "as first seen (no hash is published)"
