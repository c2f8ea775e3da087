"""Values are remembered by their tensor, go with it, and are computed once."""

import gc
import threading
import time

import pytest
import torch

from napari_sam.core.recent import Recent


def test_computed_once_for_each_tensor():
    recent = Recent[object](4)
    first, second = torch.zeros(3), torch.zeros(3)
    value = recent.get(first, object)
    assert recent.get(first, object) is value
    assert recent.get(second, object) is not value
    assert recent.get(first, object) is value
    assert len(recent) == 2


def test_an_entry_goes_with_its_tensor():
    recent = Recent[object](4)
    source = torch.zeros(3)
    recent.get(source, object)
    del source
    gc.collect()
    assert len(recent) == 0


def test_the_least_recently_used_entry_makes_room():
    recent = Recent[object](2)
    a, b, c = (torch.zeros(1) for _ in range(3))
    kept, dropped = recent.get(a, object), recent.get(b, object)
    recent.get(a, object)
    recent.get(c, object)
    assert len(recent) == 2
    assert recent.get(a, object) is kept
    assert recent.get(b, object) is not dropped


def test_two_threads_get_the_same_value_computed_once():
    recent = Recent[object](4)
    source = torch.zeros(3)
    made: list[object] = []

    def slow() -> object:
        time.sleep(0.05)
        made.append(object())
        return made[-1]

    got: list[object] = []
    threads = [
        threading.Thread(target=lambda: got.append(recent.get(source, slow))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert got == made * 4


def test_a_failed_computation_is_not_remembered():
    recent = Recent[int](4)
    source = torch.zeros(3)

    def fail() -> int:
        raise MemoryError

    with pytest.raises(MemoryError):
        recent.get(source, fail)
    assert recent.get(source, lambda: 7) == 7
