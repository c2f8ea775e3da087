"""The rules of dependency that import-linter cannot say: who alone may import what, and when."""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

import napari_sam

SRC = Path(napari_sam.__file__).parent
ENGINES = ("torch", "openvino", "onnxruntime", "onnx")
HEAVY = (*ENGINES, "napari", "qtpy", "PyQt6", "zarr", "scipy", "skimage")

# Package -> the only places (files, or folders that end in /) that may import it.
OWNERS = {
    "napari": ("_layers/", "_widget.py", "_jobs.py", "_sample_data.py", "_demo.py"),
    "qtpy": ("_jobs.py", "_widget.py", "_panels/"),
    "PyQt6": (),
    "superqt": ("_widget.py", "_panels/"),
    "magicgui": ("_forms.py",),
    "psygnal": ("_workplace.py", "_prompting.py", "_session.py", "_everything.py", "_review.py",
                "_keeper.py", "_filing.py", "_series.py", "_bulk.py", "_volume.py",
                "_finetune.py", "_listing.py", "_propagating.py", "_tracks.py"),
    "typer": ("_cli.py", "_cli_auto.py", "_cli_embed.py", "_cli_evaluate.py", "_cli_machines.py",
              "_cli_models.py", "_cli_options.py", "_cli_propagate.py", "_cli_replay.py",
              "_cli_segment.py", "_cli_segment_volume.py", "_cli_status.py", "_cli_track.py",
              "_cli_train.py",
              "_cli_volume.py"),
    "torchvision": (),
    "timm": (),
    # the network
    **dict.fromkeys(
        ("requests", "pooch", "urllib", "urllib3", "socket", "http", "ftplib", "httpx", "aiohttp"),
        ("core/weights.py",),
    ),
    "huggingface_hub": (),
    **dict.fromkeys(("fsspec", "s3fs"), ("volume/remote.py",)),
    # the extras: each engine in its own file, imported when asked for
    "openvino": ("core/engines/openvino.py",),
    "onnxruntime": ("core/engines/onnx.py",),
    "distributed": ("volume/distributed.py",),
    "pylibCZIrw": ("volume/readers/czi.py",),
    "nd2": ("volume/readers/nd2.py",),
    "pydicom": ("volume/readers/dicom.py",),
    "nibabel": ("volume/readers/nifti.py",),
    "laptrack": ("tracking/lap.py",),
    **dict.fromkeys(("geff", "geff_spec"), ("tracking/geff_store.py",)),
}  # fmt: skip


# Files that need the extra [napari]; all others must do without.
NAPARI_SIDE = ("_layers/", "_panels/", "_widget.py", "_jobs.py", "_forms.py", "_demo.py")
# Files that need another extra, and which.
EXTRA_FILES = {
    "core/engines/openvino.py": "openvino",
    "core/engines/onnx.py": "onnx",
    "extras/coco.py": "coco",
    "extras/imagej.py": "imagej",
    "tracking/geff_store.py": "tracking",
    "tracking/lap.py": "tracking",
    "volume/distributed.py": "distributed",
    "volume/remote.py": "remote",
    "volume/readers/czi.py": "czi",
    "volume/readers/nd2.py": "nd2",
    "volume/readers/dicom.py": "dicom",
    "volume/readers/nifti.py": "nifti",
}
# Where the name to import is not the name to install.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "geff_spec": "geff",
    "skimage": "scikit-image",
    "distributed": "dask",
}


@cache
def sources() -> tuple[tuple[str, ast.Module], ...]:
    return tuple(
        (path.relative_to(SRC).as_posix(), ast.parse(path.read_text(encoding="utf-8")))
        for path in sorted(SRC.rglob("*.py"))
    )


@cache
def imports(tree: ast.AST) -> tuple[str, ...]:
    """Full names of the modules that are imported anywhere in a file, also inside functions."""
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide who imports whom"
            assert node.module is not None
            found.append(node.module)
    return tuple(found)


@pytest.mark.parametrize("package", OWNERS)
def test_a_package_is_imported_by_its_owners_only(package: str) -> None:
    owners = OWNERS[package]
    strangers = [
        name
        for name, tree in sources()
        if any(module.split(".")[0] == package for module in imports(tree))
        and not any(
            name == owner or (owner[-1] == "/" and name.startswith(owner)) for owner in owners
        )
    ]
    assert not strangers


def test_what_is_imported_is_declared() -> None:
    with (SRC.parents[1] / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    base = {distribution(line) for line in project["dependencies"]}
    extras = {
        name: {distribution(line) for line in lines}
        for name, lines in project["optional-dependencies"].items()
    }
    for name, tree in sources():
        modules = {module.split(".")[0] for module in imports(tree)} - {"napari_sam"}
        wanted = {DISTRIBUTIONS.get(m, m) for m in modules if m not in sys.stdlib_module_names}
        declared = base | extras["napari"] if name.startswith(NAPARI_SIDE) else base
        declared = declared | extras.get(EXTRA_FILES.get(name, ""), set())
        assert wanted <= declared, f"{name} imports {wanted - declared}"


def distribution(requirement: str) -> str:
    return re.split(r"[^\w-]", requirement, maxsplit=1)[0]


def test_modeling_knows_torch_only() -> None:
    allowed = ("torch", "napari_sam.core.modeling", "napari_sam.core.architecture",
               "napari_sam.errors")  # fmt: skip
    for name, tree in sources():
        if not name.startswith("core/modeling/"):
            continue
        for module in imports(tree):
            standard = module.split(".")[0] in sys.stdlib_module_names
            assert standard or module.startswith(allowed), f"{name} imports {module}"


def test_the_library_imports_no_front_end() -> None:
    for name, tree in sources():
        if "/" in name and not name.startswith("_"):
            private = [m for m in imports(tree) if m.startswith("napari_sam._")]
            assert not private, f"{name} imports {private}"


@pytest.mark.parametrize(
    "code",
    [
        "import napari_sam",
        "from napari_sam import Prompts, MODELS, get_spec, NapariSamError, Progress",
        "import napari_sam._sample_data",
        "import napari_sam.core.params, napari_sam.core.registry, napari_sam.core.weights",
        "from napari_sam.core.engines import installed_engines; installed_engines()",
    ],
)
def test_light_imports_stay_light(code: str) -> None:
    assert not loaded_after(code) & {*ENGINES, "napari", "qtpy", "PyQt6", "zarr"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["segment", "--help"],
        ["auto", "--help"],
        ["segment-volume", "--help"],
        ["models", "list"],
    ],
)
def test_help_and_lists_load_nothing_heavy(arguments: list[str]) -> None:
    code = f"import napari_sam._cli as cli; cli.app({arguments!r}, standalone_mode=False)"
    assert not loaded_after(code) & set(HEAVY)


def test_importing_the_dock_loads_no_torch() -> None:
    pytest.importorskip("napari")
    assert not loaded_after("import napari_sam._widget") & set(ENGINES)


def test_no_file_is_a_drawer_for_everything() -> None:
    names = {Path(name).stem for name, _ in sources()}
    assert not names & {"utils", "helpers", "misc", "common_utils"}


def loaded_after(code: str) -> set[str]:
    """Top-level modules that are loaded after ``code`` in a new interpreter."""
    script = (
        f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\n"
        "print('loaded:', *{name.split('.')[0] for name in sys.modules})"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(answer.stdout.rpartition("loaded:")[2].split())
