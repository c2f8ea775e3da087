"""Labels of frames -> proposals -> lineage: rules that hold for all labels, and drawn cases."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from napari_sam.errors import ImageError, TrackingError
from napari_sam.progress import finish
from napari_sam.tracking.events import Disappearance, Division
from napari_sam.tracking.lineage import Lineage
from napari_sam.tracking.pipeline import Method, TrackParams, link, track_labels
from napari_sam.tracking.proposal import Proposal
from napari_sam.tracking.relabel import Relabelled
from napari_sam.tracking.series import LabelSeries
from tests.tracking.drawn import disc, division, shuffled

SERIES = arrays(np.uint16, (4, 6, 6), elements=st.integers(0, 4))
METHODS = (Method.OVERLAP, Method.LAPTRACK)


def propose(labels: NDArray[np.uint16], **settings: object) -> Proposal:
    axes = "tyx" if labels.ndim == 3 else "tzyx"
    series = LabelSeries.open(labels, axes=axes)
    return finish(track_labels(series, TrackParams(**settings)))  # type: ignore[arg-type]


def relabelled(labels: NDArray[np.uint16], lineage: Lineage) -> NDArray[np.uint16]:
    axes = "tyx" if labels.ndim == 3 else "tzyx"
    return Relabelled(LabelSeries.open(labels, axes=axes), lineage)[...]


@given(labels=SERIES, seed=st.integers(0, 99))
@settings(max_examples=12, deadline=None)
def test_numbers_of_later_frames_play_no_part(labels: NDArray[np.uint16], seed: int) -> None:
    other = shuffled(labels, seed, first=1)
    tracks, again = (propose(one).accept() for one in (labels, other))
    np.testing.assert_array_equal(tracks.objects.centre, again.objects.centre)
    _, first = np.unique(tracks.track, return_inverse=True)
    _, second = np.unique(again.track, return_inverse=True)
    pairs = np.unique(np.stack([first, second], 1), axis=0)
    assert len(pairs) == len(np.unique(first)) == len(np.unique(second))


@given(labels=SERIES)
@settings(max_examples=12, deadline=None)
def test_what_is_tracked_is_tracked_already(labels: NDArray[np.uint16]) -> None:
    made = relabelled(labels, propose(labels).decide())
    assert ((made > 0) == (labels > 0)).all()
    np.testing.assert_array_equal(made[0], labels[0])  # the first frame keeps its numbers
    np.testing.assert_array_equal(relabelled(made, propose(made).decide()), made)


@given(labels=SERIES, evidence=st.floats(0, 1))
@settings(max_examples=12, deadline=None)
def test_families_are_trees_that_go_forward_in_time(
    labels: NDArray[np.uint16], evidence: float
) -> None:
    lineage = propose(labels).accept(evidence)
    known = {one.id: one for one in lineage.tracks}
    for child, parents in lineage.graph.items():
        assert len(parents) == 1
        assert known[parents[0]].end < known[child].begin
    keys = np.stack([lineage.track, lineage.objects.frame], 1)
    assert len(np.unique(keys, axis=0)) == len(keys) == len(lineage.objects)
    table = lineage.table()
    assert len(table) == len(keys) and (np.diff(table[:, 0]) >= 0).all()
    assert (lineage.objects.frame[lineage.edges()] @ (-1, 1) > 0).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("depth", [0, 13])
def test_a_drawn_division_is_found(method: Method, depth: int) -> None:
    truth = division(depth)
    labels = shuffled(truth, seed=3, first=1)
    proposal = propose(labels, method=method)
    assert [one.frame for one in proposal.divisions] == [3]
    assert proposal.divisions[0].evidence > 0.4
    lineage = proposal.decide(proposal.divisions)
    made = relabelled(labels, lineage)
    # each true track is one track of the result, and the other way round
    pairs = np.unique(np.stack([truth[truth > 0], made[truth > 0]], 1), axis=0)
    assert len(pairs) == 6 == len(np.unique(pairs[:, 1]))
    names = dict(pairs.tolist())
    assert lineage.graph == {names[3]: [names[2]], names[4]: [names[2]]}
    assert [names[n] for n in (1, 2, 5)] == [1, 2, 5]  # ids are kept


def test_a_refused_division_leaves_the_parent_with_its_first_child() -> None:
    labels = division()
    proposal = propose(labels)
    made = relabelled(labels, proposal.decide())
    first = proposal.divisions[0].children[0]
    assert (made[3][labels[3] == first] == 2).all()
    assert not proposal.decide().graph


def test_what_ends_and_begins_is_proposed() -> None:
    proposal = propose(division())
    (end,) = proposal.disappearances
    assert (end.label, end.frame, end.cause, end.instead) == (5, 3, "border", None)
    (new,) = proposal.appearances
    assert (new.label, new.frame, new.border) == (6, 2, False)


def merging() -> NDArray[np.uint16]:
    labels = np.zeros((3, 20, 30), np.uint16)
    for frame in labels[:2]:
        disc(frame, (10, 10), 5, 1)
        disc(frame, (10, 19), 3, 2)
    disc(labels[2], (10, 12), 8, 7)
    return labels


def test_a_merge_is_a_cause() -> None:
    (end,) = propose(merging(), iou=0.2).disappearances
    assert (end.label, end.frame, end.cause) == (2, 1, "merged")


def leap(pixels: int) -> NDArray[np.uint16]:
    """One object that jumps without overlap in the middle."""
    labels = np.zeros((4, 20, 40), np.uint16)
    for t, frame in enumerate(labels):
        disc(frame, (10, 8 + (pixels if t > 1 else 0)), 4, 1)
    return labels


def test_a_refused_disappearance_goes_on() -> None:
    labels = leap(9)
    proposal = propose(labels)
    (end,) = proposal.disappearances
    assert end.instead == (2, 1) and end.cause == "lost" and 0.5 < end.evidence < 1
    assert len(proposal.accept().tracks) == 2
    assert len(proposal.decide(refused=[end]).tracks) == 1
    assert propose(leap(20)).disappearances[0].instead is None  # further than its size


def test_the_voxel_size_counts_in_distances() -> None:
    labels = leap(9)
    series = LabelSeries.open(labels, axes="tyx", spacing=(1, 4))  # now 36 units, beyond its size
    (end,) = finish(track_labels(series)).disappearances
    assert end.instead is None
    scan = finish(track_labels(series)).scan
    near, far = (
        len(link(scan, TrackParams(Method.LAPTRACK, max_distance=reach)).links)
        for reach in (30, 40)
    )
    assert (near, far) == (2, 3)


def test_an_object_may_be_missing_for_a_frame() -> None:
    labels = np.repeat(division()[:1], 4, 0)
    labels[1][labels[1] == 2] = 0
    for method in METHODS:
        made = propose(labels, method=method, gap=1).accept()
        assert len(made.tracks) == 3
        assert len(propose(labels, method=method, gap=0).accept().tracks) == 4


def test_labels_that_are_tracks_already_stay() -> None:
    labels = division()
    proposal = propose(labels, method=Method.IDS)
    np.testing.assert_array_equal(relabelled(labels, proposal.decide()), labels)


@pytest.mark.parametrize("method", Method)
@pytest.mark.parametrize("objects", [0, 1])
def test_next_to_nothing_can_be_tracked(method: Method, objects: int) -> None:
    labels = np.zeros((3, 5, 5), np.uint16)
    labels[1, 2, 2] = objects
    lineage = propose(labels, method=method).accept()
    assert lineage.table().shape == (objects, 4) and not lineage.graph
    np.testing.assert_array_equal(relabelled(labels, lineage), labels)


def test_short_tracks_can_be_left_out() -> None:
    labels = division()
    labels[4, 0, 0] = 9
    lineage = propose(labels).accept(0.3).without_short(2)
    made = relabelled(labels, lineage)
    assert made[4, 0, 0] == 0
    assert len(lineage.tracks) == 6 and lineage.divisions


@pytest.mark.parametrize(
    ("accepted", "refused", "says"),
    [
        ([Division(99, (3, 4), 3, 1.0)], [], "no object 99"),
        ([Division(2, (3, 3), 3, 1.0)], [], "fewer than two"),
        ([Division(2, (3, 4), 3, 1.0), Division(1, (1, 4), 3, 1.0)], [], "two decisions"),
        ([], [Disappearance(5, 3, "border", 1.0)], "cannot go on"),
        ([], [Disappearance(1, 3, "lost", 1.0, (4, 6))], "two decisions"),
    ],
)
def test_decisions_that_cannot_be(
    accepted: list[Division], refused: list[Disappearance], says: str
) -> None:
    with pytest.raises(TrackingError, match=says):
        propose(division()).decide(accepted, refused)


@pytest.mark.parametrize(
    "settings", [{"iou": 0.0}, {"covered": 1.5}, {"gap": -1}, {"max_distance": 0.0}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(TrackingError):
        TrackParams(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("labels", "axes", "says"),
    [
        (np.zeros((5, 5), np.uint16), None, "no time"),
        (np.zeros((2, 5, 5), float), "tyx", "whole numbers"),
        (np.zeros((2, 3, 5, 5), np.uint16), "tcyx", "no channels"),
    ],
)
def test_what_is_no_series_is_refused(
    labels: NDArray[np.generic], axes: str | None, says: str
) -> None:
    with pytest.raises(ImageError, match=says):
        LabelSeries.open(labels, axes=axes)


def test_labels_below_zero_are_refused() -> None:
    with pytest.raises(ImageError, match="label -1 in frame 0"):
        propose(np.full((2, 3, 3), -1, np.int16))  # type: ignore[arg-type]


def test_labels_beyond_what_tracks_can_hold_are_refused() -> None:
    with pytest.raises(ImageError, match="Renumber"):
        propose(np.full((2, 3, 3), 2**63 + 1, np.uint64))  # type: ignore[arg-type]


def test_a_spacing_needs_a_number_for_each_axis() -> None:
    with pytest.raises(ImageError, match="2 numbers"):
        LabelSeries.open(division(), axes="tyx", spacing=(1, 1, 1))


def test_labels_by_track_are_read_like_an_array() -> None:
    labels = division(5)
    series = LabelSeries.open(labels, axes="tzyx")
    made = Relabelled(series, finish(track_labels(series)).accept(0.3))
    whole = np.stack([made.frame(t) for t in range(6)])
    assert made.shape == whole.shape and made.dtype == np.uint16
    for index in (2, (2, 1), (..., 3), (slice(1, 5, 2), slice(None), 4), (slice(0, 0),),
                  (3, ..., slice(2, 9)), -1, (-1, 2, 3, 4)):  # fmt: skip
        np.testing.assert_array_equal(made[index], whole[index])


def test_labels_that_changed_are_not_relabelled() -> None:
    labels = division()
    series = LabelSeries.open(labels, axes="tyx")
    made = Relabelled(series, finish(track_labels(series)).accept())
    labels[2, 0, 0] = 77
    with pytest.raises(TrackingError, match="frame 2 has changed"):
        made.frame(2)
    other = dataclasses.replace(made.lineage, shape=(6, 9, 9))
    with pytest.raises(TrackingError, match="shape"):
        Relabelled(series, other)


def test_napari_takes_the_tracks() -> None:
    layers = pytest.importorskip("napari.layers")
    for depth in (0, 5):
        lineage = propose(division(depth)).accept(0.3)
        layer = layers.Tracks(**lineage.tracks_layer())
        assert layer.graph == lineage.graph and len(lineage.graph) == 2
        np.testing.assert_array_equal(layer.data, lineage.table())
        assert {"size", "label"} <= set(layer.features.columns)
