"""Every error that napari-sam raises on purpose. Knows no other module.

::

    NapariSamError(Exception)
    ├── PromptError(ValueError)             empty, outside the image, wrong shape
    ├── ImageError(ValueError)              axes, dtype, NaN, empty: what was got, what is taken
    ├── ModelError
    │   ├── UnknownModelError(LookupError)  lists the known names
    │   └── WeightsError                    hash, keys or sizes do not fit: says which
    ├── TrainingError(ValueError)           labelled images or settings that nothing can learn from
    ├── EditError(ValueError)               an object cannot be edited so: why, what to do
    ├── TrackingError(ValueError)           settings, decisions or files that give no lineage
    ├── StoreError
    │   ├── StoreMismatchError              the manifest differs: field, stored, wanted
    │   ├── StoreIncompleteError            n of m tiles missing: how to resume
    │   └── JournalError                    the file is no journal, or of another image
    ├── ClusterError                        no scheduler, no worker, or one that cannot work
    ├── OutOfMemoryError(MemoryError)       suggests a smaller model or tile
    └── MissingExtraError(ImportError)      the exact pip line

None of them derives from :class:`RuntimeError`: napari's generator worker swallows that one, so
the user would never hear of it.
"""


class NapariSamError(Exception):
    """Base of all errors raised on purpose; its message says what was wrong and what to do."""


class PromptError(NapariSamError, ValueError):
    """A prompt is empty, lies outside the image or has the wrong shape."""


class ImageError(NapariSamError, ValueError):
    """An image cannot be taken as it is: its axes, dtype, size or values."""


class ModelError(NapariSamError):
    """A model cannot be used."""


class UnknownModelError(ModelError, LookupError):
    """The name is not in the registry; the message lists the names that are."""


class WeightsError(ModelError):
    """A weights file is missing, damaged, or does not fit the architecture."""


class TrainingError(NapariSamError, ValueError):
    """Images, labels or settings that training cannot begin or go on with; says what to do."""


class EditError(NapariSamError, ValueError):
    """An object cannot be edited in this way; the message says why and what to do."""


class TrackingError(NapariSamError, ValueError):
    """Settings, decisions or files of which no lineage can be made; says what to do."""


class StoreError(NapariSamError):
    """A store on disk cannot be used."""


class StoreMismatchError(StoreError):
    """The manifest of a store differs from what is wanted; the message names the field."""


class StoreIncompleteError(StoreError):
    """Tiles of a store are missing; the message says how to resume."""


class JournalError(StoreError):
    """A journal cannot be read, or belongs to another image."""


class ClusterError(NapariSamError):
    """Other machines cannot be used; the message says why and what to do."""


class OutOfMemoryError(NapariSamError, MemoryError):
    """The device ran out of memory; the message suggests a smaller model or image."""


class MissingExtraError(NapariSamError, ImportError):
    """An optional dependency is not installed; the message gives the pip line."""


def missing_extra(what: str, package: str, extra: str) -> MissingExtraError:
    """The error that says how an extra of ours is installed.

    Parameters
    ----------
    what
        What was wanted, for the beginning of the sentence.
    package, extra
        What is missing, and the extra that brings it.
    """
    return MissingExtraError(
        f'{what}: {package} is needed: pip install "napari-sam[{extra}]", from this repository.'
    )
