"""What scripts rely on: names, signatures, and the script in the README."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

import napari_sam
from napari_sam._cli_options import ExitCode
from napari_sam._sample_data import SAMPLES
from napari_sam.core.weights import find

ROOT = Path(__file__).parents[1]
NAMES = [
    "AutomaticParams", "ImageEmbedding", "KeyPlane", "MODELS", "MaskPrediction", "MaskRecord",
    "ModelSpec", "NapariSamError", "Predictor", "Progress", "Prompts", "PropagateParams",
    "get_spec", "load_predictor", "propagate_objects", "records_to_labels", "segment_everything",
    "to_picture",
]  # fmt: skip


def test_the_names_are_these() -> None:
    assert sorted(napari_sam.__all__) == sorted(NAMES)
    assert set(NAMES) <= set(dir(napari_sam))
    for name in NAMES:
        assert getattr(napari_sam, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'sam'"):
        _ = napari_sam.sam


@pytest.mark.parametrize(
    ("path", "arguments"),
    [
        ("load_predictor", "name, *, weights, device, precision, backend"),
        ("Predictor.encode", "self, image, *, intensity, channels"),
        ("Predictor.decode", "self, embedding, prompts, *, multimask, least_score"),
        ("Prompts", "*, points, point_labels, boxes, mask_logits"),
        ("MaskPrediction.masks", "self"),
        ("MaskPrediction.to_labels", "self"),
        ("to_picture", "image, *, intensity, channels"),
        ("get_spec", "name"),
        ("KeyPlane", "plane, labels, prompts, absent"),
    ],
)
def test_signatures_stay(path: str, arguments: str) -> None:
    value = napari_sam
    for part in path.split("."):
        value = getattr(value, part)
    parameters = list(inspect.signature(value).parameters.values())  # type: ignore[arg-type]
    names = [p.name for p in parameters]
    keyword_only = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    if keyword_only:
        names.insert(names.index(keyword_only[0]), "*")
    assert ", ".join(names) == arguments


def test_the_scripts_in_the_manual_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "manual" / "scripting.md").read_text(encoding="utf-8")
    first, everything = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    # Its middle holds the two objects; a whole grid on the whole image would take long.
    image = SAMPLES["nuclei_fluorescence"].read_image()[:160, 100:260]
    tifffile.imwrite(tmp_path / "cells.tif", image)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    first = first.replace("[87, 203]", "[87, 103]").replace("[155, 127]", "[155, 27]")
    exec(compile(first, "scripting.md", "exec"), names)
    everything = everything.replace("points_per_side=32", "points_per_side=4")
    exec(compile(everything, "scripting.md", "exec"), names)
    assert tifffile.imread(tmp_path / "labels.tif").max() == 2
    assert np.asarray(names["labels"]).max() >= 1


def test_every_page_of_the_manual_is_in_its_contents() -> None:
    folder = ROOT / "docs" / "manual"
    index = (folder / "index.md").read_text(encoding="utf-8")
    (contents,) = re.findall(r"```\{toctree\}\n(.*?)```", index, re.DOTALL)
    pages = {path.stem for path in folder.glob("*.md")} - {"index"}
    assert {line for line in contents.split() if not line.startswith(":")} - {"1"} == pages


def test_the_manual_names_every_model_and_exit_code() -> None:
    folder = ROOT / "docs" / "manual"
    models = (folder / "models.md").read_text(encoding="utf-8")
    assert [name for name in napari_sam.MODELS if f"`{name}`" not in models] == []
    codes = (folder / "command-line.md").read_text(encoding="utf-8")
    assert {int(code) for code in ExitCode} <= {int(n) for n in re.findall(r"\d+", codes)}


def test_the_version_is_that_of_the_distribution() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'\nversion = "{napari_sam.__version__}"' in text


def test_the_script_in_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (script,) = re.findall(r"```python\n(.*?)```", readme(), re.DOTALL)
    sample = SAMPLES["nuclei_fluorescence"]
    tifffile.imwrite(tmp_path / "cells.tif", sample.read_image())
    monkeypatch.chdir(tmp_path)
    exec(compile(script, "README.md", "exec"), {})
    labels = tifffile.imread(tmp_path / "labels.tif")
    truth = sample.read_labels()
    assert labels.shape == truth.shape
    for label, (y, x) in enumerate([(87, 203), (155, 127)], start=1):
        mask, wanted = labels == label, truth == truth[y, x]
        assert (mask & wanted).sum() / (mask | wanted).sum() > 0.7
    assert np.unique(labels).tolist() == [0, 1, 2]


def test_the_bundled_weights_are_there_and_small() -> None:
    path = find(napari_sam.get_spec("tiny"))
    assert path is not None
    assert path.stat().st_size <= 20e6


def test_the_readme_names_every_source_file() -> None:
    (tree,) = re.findall(r"```text\n(.*?)```", readme(), re.DOTALL)
    named = set(paths_of(tree))
    source = ROOT / "src" / "napari_sam"
    present = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.is_file() and path.suffix in (".py", ".cpp", ".h", ".yaml", ".typed", ".md")
        and not path.name.startswith("__init__")
    }  # fmt: skip
    assert sorted(present - named) == []
    assert sorted(named - present) == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def paths_of(tree: str) -> list[str]:
    """Files of the indented tree under ``src/napari_sam/``: each line is ``names  phrase``."""
    paths: list[str] = []
    folders: list[str] = []
    for line in tree.partition("src/napari_sam/\n")[2].splitlines():
        depth = (len(line) - len(line.lstrip())) // 2 - 1
        names = re.split(r"\s{2,}", line.strip(), maxsplit=1)[0].split()
        folders = folders[:depth]
        if names[0].endswith("/"):
            folders.append(names[0].rstrip("/"))
        else:
            paths += ["/".join([*folders, name]) for name in names]
    return [path for path in paths if "__init__" not in path]


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")
