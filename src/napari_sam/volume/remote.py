"""Images at addresses (``https://``, ``s3://``) through fsspec (extra ``remote``): only read.

Knows how an address is opened, no image format. Credentials are those that the tools of the
storage take: ``AWS_PROFILE``, ``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``; for a public bucket
``FSSPEC_S3_ANON=true``.
"""

from contextlib import ExitStack
from pathlib import PurePosixPath
from typing import Any

from napari_sam.errors import ImageError, missing_extra

__all__ = ["is_address", "name_of", "open_remote_file", "refusal", "remote_store"]


def is_address(source: object) -> bool:
    """Whether it is an address and no path."""
    return isinstance(source, str) and "://" in source


def name_of(address: str) -> str:
    """The last part of an address."""
    return PurePosixPath(address.split("://", 1)[1].split("?")[0].rstrip("/")).name


def remote_store(address: str) -> Any:
    """What zarr reads through.

    Raises
    ------
    MissingExtraError
        fsspec, or what it needs for this kind of address, is not installed.
    ImageError
        There is no such kind of address.
    """
    from zarr.storage import FsspecStore

    try:
        return FsspecStore.from_url(address.rstrip("/"), read_only=True)
    except ImportError as error:
        raise missing_extra("Images at addresses", "fsspec", "remote") from error
    except ValueError as error:
        raise _unknown(address, error) from error


def open_remote_file(address: str, closing: ExitStack) -> Any:
    """A file to read from and to seek in, by blocks; errors as of :func:`remote_store`."""
    try:
        import fsspec

        file: Any = closing.enter_context(fsspec.open(address, "rb"))
    except ImportError as error:
        raise missing_extra("Images at addresses", "fsspec", "remote") from error
    except FileNotFoundError as error:
        raise ImageError(f"There is no file {address}, or its server does not answer.") from error
    except ValueError as error:
        raise _unknown(address, error) from error
    return file


def refusal(address: str, error: Exception) -> ImageError | None:
    """What to do where access is refused; None for other errors."""
    if not isinstance(error, PermissionError) and "credentials" not in str(error).lower():
        return None
    return ImageError(
        f"{address} may not be read ({str(error).rstrip('.')}): name an account with AWS_PROFILE or"
        " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or set FSSPEC_S3_ANON=true for what is"
        " public."
    )


def _unknown(address: str, error: Exception) -> ImageError:
    return ImageError(f"{address} cannot be opened: {error}. Take https:// or s3://.")
