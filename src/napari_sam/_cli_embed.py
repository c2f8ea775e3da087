"""``napari-sam embed``: the image embeddings of a volume, to keep."""

from typing import Annotated

import typer

from napari_sam._cli_groups import grouped
from napari_sam._cli_machines import Machines
from napari_sam._cli_models import Engine
from napari_sam._cli_options import Verbose
from napari_sam._cli_volume import Cut, Store, Work, embeddings_folder, say, watch

_NUMBERS = ("float16", "bfloat16", "float32")

Numbers = Annotated[
    str,
    typer.Option("--dtype", metavar="NAME", help="Embeddings as float16, bfloat16 or float32."),
]


@grouped
def embed(
    store: Store,
    *,
    work: Work = None,
    engine: Engine,
    cut: Cut,
    dtype: Numbers = "float16",
    machines: Machines,
    verbose: Verbose = False,
) -> None:
    """Compute the image embeddings of a volume, tile by tile, and keep them.

        napari-sam embed stack.zarr

    Stopped or killed, the same command goes on where it was. `segment-volume --embeddings` uses
    what is there.
    """
    from napari_sam.volume.pipelines import embed_volume

    if dtype not in _NUMBERS:
        raise typer.BadParameter(f"--dtype {dtype}: take float16, bfloat16 or float32.")
    job = cut.job(cut.image(store), engine)
    path = embeddings_folder(store, work, engine.model)
    with machines.runner() as runner:
        kept = watch(embed_volume(job, path, dtype=dtype, runner=runner), kept="tiles")
    size = kept.bytes_on_disk()
    t, z, y, x = kept.manifest.grid.shape
    density = size / (t * z * y * x)
    say(f"{len(kept)} tiles in {path}: {size / 1e6:,.1f} MB, {density:.2f} bytes a voxel")
