"""Images at addresses: a web server and an S3 server of this machine."""

import io
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import tifffile

from napari_sam.errors import ImageError
from napari_sam.progress import finish
from napari_sam.volume.image import ImageRef
from napari_sam.volume.pipelines import segment_volume, stitch_volume
from napari_sam.volume.remote import refusal
from napari_sam.volume.sources import forget_sources
from tests.volume.fakes import cells
from tests.volume.images import write_ome_zarr
from tests.volume.test_pipelines import PARAMS, same_objects, volume_job

pytest.importorskip("fsspec")


@pytest.fixture(autouse=True)
def _closed_files() -> Iterator[None]:
    yield
    forget_sources()


class Ranges(SimpleHTTPRequestHandler):
    """Sends parts of files, as web servers do, and says nothing."""

    def send_head(self):  # the standard library's knows no ranges
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return None
        content = path.read_bytes()
        wanted = self.headers.get("Range")
        if wanted:
            first, last = (int(n) if n else None for n in wanted.removeprefix("bytes=").split("-"))
            last = min(len(content) - 1 if last is None else last, len(content) - 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            content = content[first : last + 1]
        else:
            self.send_response(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return io.BytesIO(content)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    data = cells((2, 90, 100))[0]
    for version in ("0.4", "0.5"):
        write_ome_zarr(folder / f"{version}.zarr", data, "zyx", version=version, levels=2)
    tifffile.imwrite(folder / "a.tif", data, metadata={"axes": "ZYX"}, rowsperstrip=8)
    return folder


@pytest.fixture(scope="module")
def web(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Ranges, directory=str(folder)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def bucket(folder: Path) -> Iterator[str]:
    moto = pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    server = moto.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (
            ("AWS_ENDPOINT_URL", f"http://{host}:{port}"), ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "me"), ("AWS_SECRET_ACCESS_KEY", "secret"),
        ):  # fmt: skip
            patch.setenv(name, value)
        there = s3fs.S3FileSystem()
        there.mkdir("bucket")
        there.put(str(folder), "bucket/images", recursive=True)
        yield "s3://bucket/images"
        server.stop()


@pytest.mark.parametrize("place", ["web", "bucket"])
@pytest.mark.parametrize("name", ["0.4.zarr", "0.5.zarr", "a.tif"])
def test_images_are_read_where_they_are(
    place: str, name: str, folder: Path, request: pytest.FixtureRequest
) -> None:
    here = ImageRef.open(folder / name)
    there = ImageRef.open(f"{request.getfixturevalue(place)}/{name}")
    assert (there.axes, there.shape, there.spacing) == (here.axes, here.shape, here.spacing)
    assert (there.name, there.zarr_format) == (name, None)
    part = (slice(10, 70), slice(3, 99))
    np.testing.assert_array_equal(there.read((0, 1), part), here.read((0, 1), part))


def test_levels_at_an_address(web: str) -> None:
    assert ImageRef.open(f"{web}/0.5.zarr/", level=1).size == (45, 50)


def test_a_volume_at_an_address_is_segmented_into_a_store_here(bucket: str, tmp_path: Path) -> None:
    job = volume_job(f"{bucket}/0.5.zarr")
    store = finish(segment_volume(job, tmp_path / "tiles", params=PARAMS))
    labels = finish(stitch_volume(store, job.image, tmp_path / "labels.zarr", "cells"))
    found = ImageRef.open(labels.path)
    assert found.spacing == (2.0, 0.5, 0.5)
    truth = cells((2, 90, 100))[1]
    assert same_objects(np.stack([found.read((0, z)) for z in range(2)]), truth)


@pytest.mark.parametrize("place", ["web", "bucket"])
def test_what_is_not_there_is_said(place: str, request: pytest.FixtureRequest) -> None:
    address = request.getfixturevalue(place)
    with pytest.raises(ImageError, match=r"There is no zarr at .*/none.zarr"):
        ImageRef.open(f"{address}/none.zarr")
    with pytest.raises(ImageError, match=r"There is no file .*/none.tif"):
        ImageRef.open(f"{address}/none.tif")


def test_who_does_not_answer_is_said(bucket: str) -> None:
    with pytest.raises(ImageError, match="cannot be read as an image: Cannot connect"):
        ImageRef.open("http://127.0.0.1:1/a.zarr")
    with pytest.raises(ImageError, match=r"a.tif, or its server does not answer"):
        ImageRef.open("http://127.0.0.1:1/a.tif")
    with pytest.raises(
        ImageError, match=r"nowhere://a/b.zarr cannot be opened: Protocol not known"
    ):
        ImageRef.open("nowhere://a/b.zarr")
    with pytest.raises(ImageError, match=r"bucket"):
        ImageRef.open("s3://no-such-bucket/b.zarr")


def test_a_refusal_says_how_to_be_let_in() -> None:
    refused = refusal("s3://a/b.zarr", PermissionError("Access Denied."))
    assert "s3://a/b.zarr may not be read (Access Denied): name an account" in str(refused)
    assert refusal("s3://a/b.zarr", OSError("broken")) is None


def test_without_an_account_it_is_said_how_to_be_let_in(
    bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3fs = pytest.importorskip("s3fs")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(ImageError, match=r"may not be read .*FSSPEC_S3_ANON=true"):
        ImageRef.open(f"{bucket}/0.4.zarr")
    s3fs.S3FileSystem.clear_instance_cache()
