"""Journals: what is written is there again, whatever happens to the program."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import napari_sam
from napari_sam import _source
from napari_sam._journal import Journal, Source, newest, read_journal, restore
from napari_sam._keeper import bring_back
from napari_sam._label_edit import ArrayLabels, difference, edit_to_json
from napari_sam._place import PointPrompt, PromptSet
from napari_sam.errors import JournalError
from tests.random_work import SHAPE, do_something, fingerprint, new_document, states

QUICK_KILLS, MANY_KILLS = 6, 200


@pytest.fixture
def source(tmp_path):
    return Source("image", str(tmp_path / "cells.tif"), SHAPE, "uint8", "abc")


def busy(source, seed=0, actions=60):
    document, rng = new_document(), random.Random(seed)
    document.recorder = journal = Journal(source)
    for _ in range(actions):
        do_something(document, rng)
    return document, journal


def again(path):
    return restore(read_journal(path), ArrayLabels(np.zeros(SHAPE, np.uint32)))


@pytest.mark.parametrize("seed", range(8))
def test_all_comes_back(source, seed):
    document, journal = busy(source, seed)
    back = again(journal.path)
    assert fingerprint(back) == fingerprint(document)
    while document.undo():
        assert back.undo()
        assert np.array_equal(back.labels.data, document.labels.data)
        assert (back.objects, back.draft) == (document.objects, document.draft)
    while document.redo():
        assert back.redo()
    assert np.array_equal(back.labels.data, document.labels.data)
    journal.close()


def test_every_torn_file_restores_to_its_last_whole_line(source):
    _, journal = busy(source, seed=3, actions=12)
    data = journal.path.read_bytes()
    marks = states(3, journal.lines)
    header = data.index(b"\n") + 1
    for length in range(header, len(data) + 1, 7):
        journal.path.write_bytes(data[:length])
        lines = read_journal(journal.path)
        assert len(lines.records) == data[:length].count(b"\n") - 1
        assert fingerprint(again(journal.path)) == marks[len(lines.records)]
    journal.close()


def test_work_goes_on_after_a_torn_line(source):
    document, journal = busy(source, seed=5, actions=20)
    journal.close()
    with journal.path.open("ab") as file:
        file.write(b'{"do":"step","na')
    lines = read_journal(journal.path)
    back = restore(lines, ArrayLabels(np.zeros(SHAPE, np.uint32)))
    back.recorder = more = Journal(source, journal.path)
    more.open_again(lines)
    rng = random.Random(99)
    for _ in range(20):
        do_something(back, rng)
    more.close()
    assert fingerprint(again(journal.path)) == fingerprint(back)
    assert fingerprint(document) != fingerprint(back)


def kill(folder: Path, count: int) -> None:
    root = Path(__file__).parents[1]
    paths = os.pathsep.join((str(root), str(Path(napari_sam.__file__).parents[1])))
    done = subprocess.run(
        [sys.executable, "-m", "tests.worker_to_kill", str(folder), str(count)],
        env={**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=True,
    )
    reports = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert [seed for seed, _ in reports] == list(range(count))
    for seed, reported in reports:
        path = folder / f"{seed}.jsonl"
        lines = read_journal(path)
        assert len(lines.records) >= reported > 0, "a step was over, but its line is lost"
        assert fingerprint(again(path)) == states(seed, len(lines.records))[len(lines.records)]


def test_killed_at_a_few_moments_nothing_is_lost(tmp_path):
    kill(tmp_path, QUICK_KILLS)


@pytest.mark.kill
def test_killed_at_many_moments_nothing_is_lost(tmp_path):
    kill(tmp_path, MANY_KILLS)


# --- files ------------------------------------------------------------------------------------


def test_nothing_is_written_before_the_first_step(source, tmp_path):
    Journal(source)
    assert not list(tmp_path.iterdir())


def test_the_folder_is_beside_the_image_or_among_the_users_data(source, tmp_path, monkeypatch):
    assert source.folder() == tmp_path / "cells.tif.napari-sam"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    nowhere = Source("my image: 1/2", "", SHAPE, "uint8")
    assert nowhere.folder().parent == tmp_path / "data" / "napari-sam" / "projects"
    assert nowhere.folder() != Source("my image: 1/2", "", (3, 4), "uint8").folder()
    assert Source("x", "/no/such/folder/x.tif").folder().parent.name == "projects"


def test_the_header_says_what_it_is_of(source):
    _, journal = busy(source)
    first = json.loads(journal.path.read_text().splitlines()[0])
    assert first["format"] == "napari-sam journal"
    assert first["image"]["shape"] == list(SHAPE)
    assert read_journal(journal.path).source == source
    journal.close()


def test_the_newest_journal_of_the_same_image_is_offered(source):
    assert newest(source) is None
    _, first = busy(source, 1)
    assert newest(source) is None  # somebody is at it
    first.close()
    _, second = busy(source, 2)
    second.close()
    assert newest(source).path == second.path
    assert newest(Source("image", source.path, SHAPE, "uint8", "other")) is None
    second.path.write_text("no journal")
    assert newest(source).path == first.path


def test_two_windows_do_not_write_the_same_journal(source):
    _, journal = busy(source)
    other = Journal(source, journal.path)
    with pytest.raises(JournalError, match="Another window"):
        other.open_again(read_journal(journal.path))
    assert journal.path.stat().st_size
    journal.close()


def test_work_that_another_window_has_added_meanwhile_is_not_cut_off(source):
    _, journal = busy(source)
    journal.close()
    lines = read_journal(journal.path)
    other = Journal(source, journal.path)
    other.open_again(lines)
    other.turn("undo")
    other.close()
    data = journal.path.read_bytes()
    late = Journal(source, journal.path)
    with pytest.raises(JournalError, match="meanwhile"):
        late.open_again(lines)
    assert journal.path.read_bytes() == data
    late.open_again(read_journal(journal.path))  # nobody holds it
    late.close()


class Small:
    """A file on a disk that is nearly full: takes some bytes, then none."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        if not self.room:
            raise OSError("No space left on device")
        taken = bytes(data[: min(self.room, 50)])
        self.room -= len(taken)
        return self.file.write(taken)

    def __getattr__(self, name):
        return getattr(self.file, name)


def test_a_line_is_written_whole_or_not_at_all(source):
    document, journal = busy(source, 1, actions=10)
    said = []
    journal.on_failure = said.append
    before = journal.path.read_bytes()
    journal._file = Small(journal._file, 10_000)
    document.set_prompts(PromptSet(tuple(PointPrompt((1.0, float(x))) for x in range(20))))
    whole = journal.path.read_bytes()
    assert whole.startswith(before)
    assert whole.endswith(b"\n")
    assert fingerprint(again(journal.path)) == fingerprint(document)
    journal._file.room = 70
    document.set_prompts(PromptSet(tuple(PointPrompt((2.0, float(x))) for x in range(20))))
    assert journal.path.read_bytes() == whole
    assert len(said) == 1
    journal.close()


def test_a_disk_that_is_gone_does_not_keep_the_window_from_closing(source, monkeypatch):
    _, journal = busy(source)

    def gone(number):
        raise OSError("Input/output error")

    said = []
    journal.on_failure = said.append
    monkeypatch.setattr(os, "fsync", gone)
    journal.close()
    assert "Input/output error" in said[0]
    monkeypatch.undo()
    more = Journal(source, journal.path)
    more.open_again(read_journal(journal.path))  # nobody holds it
    more.close()


def test_a_click_does_not_hide_the_work_of_an_earlier_day(source):
    _, first = busy(source, 1)
    first.close()
    document = new_document()
    document.recorder = second = Journal(source)
    document.set_prompts(PromptSet((PointPrompt((1.0, 1.0)),)))
    second.close()
    assert newest(source).path == first.path
    first.path.unlink()
    assert newest(source).path == second.path


def test_what_comes_after_a_damaged_line_is_set_aside_not_thrown_away(source):
    _, journal = busy(source, 3, actions=12)
    journal.close()
    rows = journal.path.read_bytes().splitlines(keepends=True)
    rows[4] = b"\0" * 40 + b"\n"
    journal.path.write_bytes(b"".join(rows))
    lines = read_journal(journal.path)
    assert len(lines.records) == 3
    assert lines.lost == len(rows) - 5
    more = Journal(source, journal.path)
    more.open_again(lines)
    more.close()
    assert journal.path.read_bytes() == b"".join(rows[:4])
    assert journal.path.with_suffix(".damaged").read_bytes() == b"".join(rows[4:])


DAMAGES = {
    "no kind": ("step", lambda record: record.pop("do")),
    "no edit": ("step", lambda record: record.update(edit=[[0, 1]])),
    "no bits": ("step", lambda record: record.update(edit=[[0, 1, [0, 0], [2, 2], 4, "AAAA"]])),
    "outside": (
        "step",
        lambda record: record.update(edit=edit_to_json(difference(*np.eye(2, dtype=int), (90,)))),
    ),
    "no prompts": ("step", lambda record: record.update(draft={"opened": None})),
    "no name": ("step", lambda record: record.pop("name")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_line_that_says_no_step_is_named(source, damage):
    _, journal = busy(source, 3, actions=12)
    journal.close()
    lines = read_journal(journal.path)
    kind, spoil = DAMAGES[damage]
    record = next(one for one in lines.records if one["do"] == kind)
    spoil(record)
    number = lines.records.index(record) + 2
    with pytest.raises(JournalError, match=f"line {number}"):
        restore(lines, ArrayLabels(np.zeros(SHAPE, np.uint32)))


@pytest.mark.parametrize("image", [None, {"name": "a"}, {"shape": 3}, {"shape": [3], "moon": 1}])
def test_a_header_that_says_no_image_is_refused(tmp_path, image):
    path = tmp_path / "a.jsonl"
    header = {"format": "napari-sam journal", "version": 1, "image": image}
    path.write_text(json.dumps(header) + "\n")
    with pytest.raises(JournalError, match="image"):
        read_journal(path)


def test_where_nothing_can_be_written_beside_the_image_it_is_in_the_users_data(
    source, tmp_path, monkeypatch
):
    beside = tmp_path / "cells.tif.napari-sam"
    beside.write_text("a file where the folder should be")
    data = tmp_path / "data"
    monkeypatch.setattr(_source.platformdirs, "user_data_dir", lambda name: str(data / name))
    _, journal = busy(source)
    journal.close()
    assert journal.path.is_relative_to(data / "napari-sam" / "projects")
    beside.unlink()  # it can be written again: what lies elsewhere is found all the same
    assert newest(source).path == journal.path
    _, second = busy(source)
    second.close()
    assert second.path.parent == beside
    assert newest(source).path == second.path


def test_two_windows_on_one_image_have_a_journal_each(source):
    one, first = busy(source, 1)
    other, second = busy(source, 2)
    assert first.path != second.path
    assert newest(source) is None  # both are at work
    assert fingerprint(again(first.path)) == fingerprint(one)
    assert fingerprint(again(second.path)) == fingerprint(other)
    first.close()
    assert newest(source).path == first.path
    second.close()


def test_a_disk_that_takes_no_more_is_said_once_and_the_work_goes_on(source, tmp_path, monkeypatch):
    (tmp_path / "cells.tif.napari-sam").write_text("a file where the folder should be")
    (tmp_path / "data").write_text("another one")
    monkeypatch.setattr(_source.platformdirs, "user_data_dir", lambda _: str(tmp_path / "data"))
    said = []
    document = new_document()
    document.recorder = Journal(source, on_failure=said.append)
    rng = random.Random(0)
    for _ in range(30):
        do_something(document, rng)
    assert len(document.history) > 3
    assert len(said) == 1
    assert "not written any more" in said[0]


def test_labels_that_were_there_before_come_back(source):
    data = np.zeros(SHAPE, np.uint32)
    data[2:9, 3:9] = 7
    document = new_document()
    document.attach(ArrayLabels(data.copy()))
    document.recorder = journal = Journal(source)
    journal.base(document.labels)
    document.delete([7])
    document.undo()
    back = again(journal.path)
    assert np.array_equal(back.labels.data, data)
    assert back.objects == document.objects
    journal.close()


@pytest.mark.parametrize("text", ["", "nonsense", '{"format":"other"}\n', "[1]\n"])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    with pytest.raises(JournalError, match="no journal"):
        read_journal(path)


def test_a_newer_version_and_another_image_are_refused(source):
    _, journal = busy(source)
    journal.close()
    with pytest.raises(JournalError, match="pixels"):
        restore(read_journal(journal.path), ArrayLabels(np.zeros((3, 4), np.uint32)))
    text = journal.path.read_text().replace('"version":1', '"version":9', 1)
    journal.path.write_text(text)
    with pytest.raises(JournalError, match="version 9"):
        read_journal(journal.path)
    with pytest.raises(JournalError, match="cannot be read"):
        read_journal(journal.path.with_name("none.jsonl"))


def test_bringing_back_is_a_job(source):
    document, journal = busy(source)
    journal.close()
    job = bring_back(read_journal(journal.path))
    try:
        while True:
            next(job)
    except StopIteration as end:
        lines, back = end.value
    assert fingerprint(back) == fingerprint(document)
    assert lines.steps > 0
