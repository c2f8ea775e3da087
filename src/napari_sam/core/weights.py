"""The weights of a :class:`ModelSpec` on this machine: find, download, verify.

The only module that touches the network. Knows neither file formats nor key names (see
``state_dict``), and no torch (see ``network``).

pooch names the cache folder and computes the hashes. Its downloader is not used: it cannot resume,
and its call returns at the end only, so that nobody could show or cancel 2.5 GB.
"""

import errno
import logging
import os
import shutil
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pooch
import requests
from filelock import FileLock, Timeout

from napari_sam.core.registry import ModelSpec
from napari_sam.errors import WeightsError
from napari_sam.progress import Progress

__all__ = [
    "cache_folder",
    "download",
    "find",
    "verify",
    "weights_path",
]

logger = logging.getLogger(__name__)

CACHE_VARIABLE = "NAPARI_SAM_CACHE"
_CHUNK_BYTES = 1 << 16  # a piece that a broken connection cuts short is lost: small pieces
_REPORT_S = 0.1  # at most ten reports a second: each may be a signal to a window
_PAUSES_S = (0.5, 1.0, 2.0)  # before each new attempt; the count starts anew when bytes arrived
_LOCK_POLL_S = 0.2
_TIMEOUT_S = (10.0, 60.0)  # to connect; between two pieces of the body
_BUSY = (408, 425, 429)  # answers below 500 that say "later", not "no"


class _TransientError(Exception):
    """The attempt failed; the next may not."""


def cache_folder(cache: str | Path | None = None) -> Path:
    """Folder of downloaded weights.

    It is ``cache`` if given, else ``$NAPARI_SAM_CACHE``, else ``napari-sam/models`` in the
    user's cache folder as the operating system has it. It need not exist.
    """
    chosen = cache or os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    return Path(pooch.os_cache("napari-sam")) / "models"


def weights_path(spec: ModelSpec, *, cache: str | Path | None = None) -> Path:
    """Where the file belongs, whether it is there or not: in the package or in the cache."""
    if spec.like:
        return Path(spec.file_name)
    if spec.bundled:
        return Path(__file__).with_name("data") / spec.file_name
    return cache_folder(cache) / spec.file_name


def find(spec: ModelSpec, *, cache: str | Path | None = None) -> Path | None:
    """Path of the weights if they are on this machine, else None. Does not check the hash."""
    path = weights_path(spec, cache=cache)
    return path if path.is_file() else None


def verify(spec: ModelSpec, path: Path) -> None:
    """Compare the file with the published hash.

    Where none is published, the sha256 of the first file seen is written to ``<path>.sha256`` with
    a warning in the log, and later files are compared with that.

    Raises
    ------
    WeightsError
        There is no such file, or its hash differs: the message has both hashes.
    """
    if not path.is_file():
        raise WeightsError(f"There is no file {path}. {_by_hand(spec, path)}")
    _check_hash(spec, path, record=_beside(path, ".sha256"), what=str(path))


def download(
    spec: ModelSpec, *, cache: str | Path | None = None
) -> Generator[Progress, None, Path]:
    """Bring the weights to this machine, unless they are there already.

    A job: closing the generator cancels; what has arrived is kept and the next call resumes. The
    file appears under its name only after its hash was checked. Of several processes one
    downloads and the others wait. A damaged file in the cache is replaced.

    Yields
    ------
    Progress
        In bytes; the total is 0 while it is unknown.

    Returns
    -------
    Path
        The checked file.

    Raises
    ------
    WeightsError
        No connection, no such file on the server, a wrong hash, no space, or no permission to
        write. The message says where to put the file by hand.
    """
    target = weights_path(spec, cache=cache)
    if spec.url is None or _is_good(spec, target):
        if not target.is_file():
            raise WeightsError(f"There is no file {target}. {_by_hand(spec, target)}")
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Not thread-local: a generator may be closed in another thread than it ran in.
        lock = FileLock(_beside(target, ".lock"), thread_local=False)
        yield from _acquire(lock, spec, target)
        try:
            if not _is_good(spec, target):
                yield from _fill(spec, target)
        finally:
            lock.release()
    except OSError as error:
        raise WeightsError(
            f"Cannot write the weights of {spec.name!r} to {target.parent}: {error}. Choose"
            f" another folder with the environment variable {CACHE_VARIABLE}."
        ) from error
    return target


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _by_hand(spec: ModelSpec, target: Path) -> str:
    if spec.bundled:
        return "It is part of the package: install napari-sam again."
    if spec.like:
        return f"It was made on this machine: put it back, or: napari-sam models remove {spec.name}"
    return (
        f"Without internet: get {spec.url} on another machine, save it as {target}, then check"
        f" it with: napari-sam models verify {spec.name}"
    )


def _check_hash(spec: ModelSpec, path: Path, *, record: Path, what: str) -> None:
    expected = spec.hash
    if expected is None and record.is_file():
        expected = record.read_text(encoding="utf-8").strip()
    algorithm = expected.partition(":")[0] if expected else "sha256"
    got = f"{algorithm}:{pooch.file_hash(str(path), alg=algorithm)}"
    if expected is None:
        record.write_text(got + "\n", encoding="utf-8")
        logger.warning(
            "No hash is published for %r: %s is trusted on first use. Its %s was written to %s.",
            spec.name, path, got, record,
        )  # fmt: skip
    elif got != expected:
        source = "published" if spec.hash else f"recorded (in {record}; delete that to accept)"
        raise WeightsError(
            f"{what} is not the {source} file of the model {spec.name!r}: expected {expected},"
            f" got {got} ({_size(path):,} bytes)."
        )


def _is_good(spec: ModelSpec, target: Path) -> bool:
    if not target.is_file():
        return False
    try:
        verify(spec, target)
    except WeightsError as error:
        logger.warning("%s It will be replaced.", error)
        return False
    return True


def _acquire(lock: FileLock, spec: ModelSpec, target: Path) -> Iterator[Progress]:
    part = _beside(target, ".part")
    while True:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            message = f"another process is downloading {spec.title}"
            yield Progress(_size(part), spec.size_bytes or 0, message)
            time.sleep(_LOCK_POLL_S)
        else:
            return


def _fill(spec: ModelSpec, target: Path) -> Iterator[Progress]:
    """Fetch into ``.part``, check, and only then give it its name."""
    part = _beside(target, ".part")
    if spec.hash is None:
        part.unlink(missing_ok=True)  # no hash would tell if two different files were joined
    # What an earlier call left may be of an older file: then once more, from the start.
    for resumed in (True, False) if part.exists() else (False,):
        yield from _fetch(spec, part, target=target)
        yield Progress(_size(part), _size(part), f"checking {spec.title}")
        try:
            _check_hash(spec, part, record=_beside(target, ".sha256"), what=f"What {spec.url} sent")
        except WeightsError:
            part.unlink()
            if not resumed:
                raise
        else:
            break
    os.replace(part, target)


def _fetch(spec: ModelSpec, part: Path, *, target: Path) -> Iterator[Progress]:
    """Download until the file is complete, with new attempts after passing faults."""
    failures, most = 0, _size(part)
    while True:
        try:
            yield from _attempt(spec, part, target=target)
            return
        except _TransientError as error:
            arrived = _size(part)
            failures = failures + 1 if arrived <= most else 1
            most = max(most, arrived)
            if failures > len(_PAUSES_S):
                raise WeightsError(
                    f"{spec.title} could not be downloaded from {spec.url}: {error}."
                    f" {_by_hand(spec, target)}"
                ) from error
            yield Progress(arrived, spec.size_bytes or 0, f"{error}: trying again")
        time.sleep(_PAUSES_S[failures - 1])


def _attempt(spec: ModelSpec, part: Path, *, target: Path) -> Iterator[Progress]:
    assert spec.url is not None
    # Identity: a compressed body would make the byte positions of a resumed download wrong.
    headers = {"Accept-Encoding": "identity", "User-Agent": "napari-sam"}
    if have := _size(part):
        headers["Range"] = f"bytes={have}-"
    try:
        with requests.get(spec.url, headers=headers, stream=True, timeout=_TIMEOUT_S) as answer:
            if _has_body(answer, part):
                yield from _save(answer, spec, part)
    except (
        requests.ConnectionError,
        requests.Timeout,
        requests.exceptions.ChunkedEncodingError,
    ) as error:
        raise _TransientError(_reason(error)) from error
    except requests.RequestException as error:
        raise WeightsError(
            f"{spec.title} cannot be downloaded from {spec.url}: {error}. {_by_hand(spec, target)}"
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        return f"the server's certificate was not accepted ({error})"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection ended early"
    if isinstance(error, requests.Timeout):
        return "the server did not answer in time"
    return "no connection to the server"


def _has_body(answer: requests.Response, part: Path) -> bool:
    """Tell whether bytes are still to come; raise where the answer is a refusal."""
    status = answer.status_code
    if status == 416:  # nothing after the part: it is complete, or of another file
        if answer.headers.get("Content-Range", "") == f"bytes */{_size(part)}":
            return False
        part.unlink()
        raise _TransientError("the partial file on disk did not fit the server's")
    if status >= 500 or status in _BUSY:
        raise _TransientError(f"the server answered {status} {answer.reason}")
    if status == 206:
        if not answer.headers.get("Content-Range", "").startswith(f"bytes {_size(part)}-"):
            part.unlink()
            raise _TransientError("the server sent another part than was asked for")
        return True
    if status != 200:
        raise requests.HTTPError(f"the server answered {status} {answer.reason}", response=answer)
    return True


def _save(answer: requests.Response, spec: ModelSpec, part: Path) -> Iterator[Progress]:
    """Write the body to the part: behind what is there, or from the start if Range was ignored."""
    resumed = answer.status_code == 206
    done = _size(part) if resumed else 0
    header = answer.headers.get("Content-Length", "")
    length = int(header) if header.isdigit() else 0
    total = done + length if length else spec.size_bytes or 0
    _require_space(spec, part, total - _size(part))
    try:
        with part.open("ab" if resumed else "wb") as file:
            reported = 0.0
            for chunk in answer.iter_content(_CHUNK_BYTES):
                file.write(chunk)
                done += len(chunk)
                if time.monotonic() - reported >= _REPORT_S:
                    yield Progress(done, total, f"downloading {spec.title}")
                    reported = time.monotonic()
            file.flush()
            os.fsync(file.fileno())  # else a crash could leave the final name on empty blocks
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        part.unlink(missing_ok=True)
        raise _no_space(spec, part, max(total, done)) from error
    if length and done != total:
        raise _TransientError("the connection ended early")


def _require_space(spec: ModelSpec, part: Path, needed: int) -> None:
    if shutil.disk_usage(part.parent).free < needed:
        raise _no_space(spec, part, needed)


def _no_space(spec: ModelSpec, part: Path, needed: int) -> WeightsError:
    free = shutil.disk_usage(part.parent).free
    return WeightsError(
        f"No space for {spec.title}: {needed / 1e6:,.1f} MB are needed in {part.parent},"
        f" {free / 1e6:,.1f} MB are free. Make room, or choose another folder with the environment"
        f" variable {CACHE_VARIABLE}."
    )
