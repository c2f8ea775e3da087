"""From samples to figures: no clock here is a real one."""

from collections.abc import Iterator

import pytest

from benchmarks.timing import (
    Block,
    Measured,
    Row,
    Sample,
    Stopwatch,
    percentile,
    summarise,
    take_turns,
)


class FakeMeter:
    """Others use so many cores, turn by turn."""

    def __init__(self, *others: float | None) -> None:
        self._others = iter(others)

    def start(self) -> None:
        return None

    def others(self, started: None) -> float | None:
        return next(self._others)


def ticking(*times: float):
    clock: Iterator[float] = iter(times)
    return lambda: next(clock)


def block(**samples: list[tuple[float, float | None]]) -> Block:
    rows = tuple(Row(name, tuple(Sample(*each) for each in part)) for name, part in samples.items())
    return Block("suite", "case", "base", rows)


def test_ratio_is_that_of_the_medians() -> None:
    figures = summarise(block(base=[(4, 0), (6, 0), (50, 0)], ours=[(2, 0), (1, 0), (9, 0)]))
    assert (figures["base"].p50, figures["ours"].p50) == (6, 2)
    assert figures["ours"].speedup == 3
    assert figures["base"].speedup == 1
    assert (figures["ours"].best, figures["ours"].p95) == (1, 9)


def test_disturbed_samples_do_not_count_where_everybody_has_quiet_ones() -> None:
    figures = summarise(block(base=[(4, 0.1), (40, 0.9)], ours=[(30, 0.2), (2, 0.15)]))
    assert figures["base"].p50 == 4
    assert figures["ours"].p50 == 2
    assert figures["ours"].only_quiet
    assert (figures["ours"].n_quiet, figures["ours"].n) == (1, 2)


def test_quiet_and_disturbed_are_never_compared() -> None:
    figures = summarise(block(base=[(4, 0.0), (8, 0.9)], ours=[(2, 0.9), (4, 0.9)]))
    assert figures["base"].p50 == 6  # its quiet sample alone would be 4
    assert figures["ours"].speedup == 2
    assert not figures["base"].only_quiet


def test_unknown_is_not_quiet() -> None:
    assert not Sample(1.0, None).quiet
    assert Sample(1.0, 0.15).quiet
    assert not Sample(1.0, 0.16).quiet


def test_no_ratio_without_the_base() -> None:
    only = summarise(block(ours=[(2, 0)]))["ours"]
    assert only.speedup is None
    skipped = Block("s", "c", "base", (Row("base", skipped="absent"), *block(ours=[(2, 0)]).rows))
    assert set(summarise(skipped)) == {"ours"}


@pytest.mark.parametrize(("share", "value"), [(0, 1), (0.5, 2), (0.75, 3), (0.95, 4), (1, 4)])
def test_percentile_is_a_value_that_occurred(share: float, value: int) -> None:
    assert percentile([1, 2, 3, 4], share) == value


def test_paused_time_does_not_count() -> None:
    watch = Stopwatch(ticking(10, 11, 14, 20, 30, 31))

    def work() -> None:
        with watch.pause():
            pass

    assert watch.time(work) == 10 - 3
    assert watch.time(lambda: None) == 1  # an earlier pause is forgotten


def test_a_call_may_time_itself() -> None:
    assert Stopwatch().time(lambda: Measured(7.5)) == 7.5


def test_contenders_take_turns_and_share_the_judgement_of_a_turn() -> None:
    order: list[str] = []
    samples = take_turns(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")},
        rounds=2,
        repeats=2,
        meter=FakeMeter(0.0, 0.5, None, 0.1),
    )
    assert "".join(order) == "aabb" + "bbaa"
    assert [sample.others for sample in samples["a"]] == [0.0, 0.0, 0.1, 0.1]
    assert [sample.others for sample in samples["b"]] == [0.5, 0.5, None, None]


def test_a_turn_lasts_long_enough_to_be_judged() -> None:
    samples = take_turns(
        {"slow": lambda: Measured(2.0), "short": lambda: Measured(0.5)},
        rounds=2,
        least_seconds=1.2,
        meter=FakeMeter(0.0, 0.1, 0.2, 0.3),
    )
    assert len(samples["slow"]) == 2
    assert [sample.others for sample in samples["short"]] == [0.1] * 3 + [0.2] * 3


def test_a_paused_stopwatch_is_used_in_turns() -> None:
    watch = Stopwatch(ticking(0, 5))
    samples = take_turns({"a": lambda: None}, rounds=1, meter=FakeMeter(0.0), watches={"a": watch})
    assert samples["a"] == (Sample(5, 0.0),)
