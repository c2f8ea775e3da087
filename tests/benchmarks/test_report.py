"""Tables, pictures and the history, from made-up blocks."""

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import history, report
from benchmarks.machine import Machine
from benchmarks.plot import to_svg
from benchmarks.timing import Agreement, Block, Row, Sample

MACHINE = Machine("cpu", ("avx2",), 2, 8.0, "Linux", 2, "3.12", {"torch": "2"}, "abc1234")
BLOCK = Block(
    "encoder",
    "vit_b",
    "official",
    (
        Row("official", (Sample(12.0, 0.0), Sample(14.0, 0.5)), peak_mb=2500.4),
        Row(
            "ours <fast>",
            (Sample(0.5, 0.0),),
            agreement=Agreement("max 1e-2", {"max": 1e-2}),
            extra={"tiles a minute": 120.04},
        ),
        Row("micro-sam", skipped="not installed"),
    ),
    note="A note.",
)
DAY = datetime(2026, 1, 2, tzinfo=UTC)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_table_has_a_line_for_everybody() -> None:
    head, rule, official, ours, micro = report.table(BLOCK).splitlines()
    assert cells(head)[3:7] == ["x official", "quiet", "peak MB", "tiles a minute"]
    assert cells(official)[:6] == ["official", "12 s", "12 s", "1.00", "1 of 2", "2500"]
    assert cells(official)[-1] == "base"
    assert cells(ours)[:4] == ["ours <fast>", "500 ms", "500 ms", "24.00"]
    assert cells(ours)[-2:] == ["120", "max 1e-2"]
    assert cells(micro)[-1] == "skipped: not installed"
    assert len({len(cells(line)) for line in (head, rule, official, ours, micro)}) == 1


def test_a_disturbed_block_says_so() -> None:
    rows = tuple(
        replace(row, samples=tuple(replace(s, others=0.9) for s in row.samples))
        for row in BLOCK.rows
    )
    text = report.to_markdown("machine", [replace(BLOCK, rows=rows)], ["faster"])
    assert "0 of 2 *busy*" in text
    assert "A note." in text
    assert "- faster" in text
    assert "*busy*" not in report.table(BLOCK)


def test_json_has_samples_and_figures() -> None:
    content = json.loads(report.to_json({"cpu": "x"}, [BLOCK]))
    (block,) = content["blocks"]
    assert block["rows"][0]["samples"][1] == {"seconds": 14.0, "others": 0.5}
    assert block["summary"]["ours <fast>"]["speedup"] == 24
    assert content["machine"] == {"cpu": "x"}


def test_the_picture_is_well_formed_and_its_bars_are_in_proportion() -> None:
    root = ElementTree.fromstring(to_svg([BLOCK, Block("storage", "x", "y", ())]))
    shapes = [each for each in root.iter() if each.tag.endswith("rect")][1:]
    official, ours = (float(each.attrib["width"]) for each in shapes)
    assert round(ours / official) == 24
    texts = [each.text for each in root.iter() if each.tag.endswith("text")]
    assert "ours <fast>" in texts


def test_a_line_of_history_comes_back(tmp_path: Path) -> None:
    line = history.make_line(MACHINE, [BLOCK], date=DAY)
    assert line.ratios == {"encoder vit_b: ours <fast>": 24.0}
    assert line.busy == ()
    path = tmp_path / "history.jsonl"
    assert history.read(path) == []
    history.append(path, line)
    history.append(path, replace(line, commit="later"))
    assert [each.commit for each in history.read(path)] == ["abc1234", "later"]
    assert history.read(path)[0] == line


def test_the_last_line_of_the_same_kind_of_machine_is_compared() -> None:
    now = history.make_line(MACHINE, [BLOCK], date=DAY)
    name = "encoder vit_b: ours <fast>"
    old = replace(now, commit="old", ratios={name: 20.0})
    last = replace(now, commit="last", ratios={name: 32.0, "gone": 1.0})
    other = replace(now, commit="other", machine="another", ratios={name: 1.0})
    head, line = history.compare([old, last, other], now)
    assert "commit last: 1 ratios in common" in head
    assert line == f"{name}: 32.00 x -> 24.00 x (-25 %) SLOWER"
    _, line = history.compare([old], now)
    assert line.endswith("(+20 %) FASTER")
    _, line = history.compare([replace(old, ratios={name: 23.0}, busy=(name,))], now)
    assert line.endswith("(+4 %) (busy machine)")
    assert history.compare([other], now) == ["No earlier run on this kind of machine is recorded."]


def test_a_busy_block_is_recorded_as_busy() -> None:
    rows = tuple(
        replace(row, samples=tuple(replace(s, others=None) for s in row.samples))
        for row in BLOCK.rows
    )
    line = history.make_line(MACHINE, [replace(BLOCK, rows=rows)], date=DAY)
    assert line.busy == ("encoder vit_b: ours <fast>",)
