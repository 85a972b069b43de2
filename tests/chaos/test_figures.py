"""What a run is in numbers."""

import json
from pathlib import Path

import pytest

from tests.chaos.checker import Verdict, judge
from tests.chaos.checker.evidence import Evidence
from tests.chaos.checker.figures import Spread, figures_of
from tests.chaos.checker.hits import hits_of
from tests.chaos.records import Journal
from tests.chaos.story import NONCE, Story, cursor, pieces_of
from tests.chaos.test_rules_work import cancelled, struck

TEXT = pieces_of("a/m1")


def verdict_of(story: Story, directory: Path) -> Verdict:
    """Through files, as in a real run."""
    for source in {record.source for record in story.records}:
        lines = [{"t": r.t, "what": r.what, **r.fields} for r in story.records if r.source == source]
        (directory / f"{source}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return judge(directory)


def test_counts(story: Story, tmp_path: Path) -> None:
    struck(story, role="engine", pids=[30])
    story.chat("b", "s2", at=200)
    story.add("gateway-20", "accepted", session="s1", id="m1", generation=100, repeated=False)
    story.append("fenced", 5)
    story.append("fenced", 6)
    story.append("ok", 7)
    story.quiet()
    verdict = verdict_of(story, tmp_path)
    assert verdict.passed
    figures = verdict.figures
    assert (figures.clients, figures.messages, figures.generations, figures.events) == (2, 2, 1, 10)
    assert figures.terminals == {"stop": 2}
    assert (figures.refused_appends, figures.zombies, figures.takeovers, figures.lost_said) == (2, 1, 0, 0)
    assert verdict.hits["fault"].midstream == 1
    assert figures.gaps["fault"].number == 1
    assert figures.gaps["fault"].most == pytest.approx(0.02)


def test_a_loss_is_counted_and_no_gap(story: Story) -> None:
    story.ask()
    story.begin(pieces=1)
    story.fault("broker_kill", "broker")
    story.add("broker-2", "memory", epoch="e2")
    story.lost()
    story.gave_up()
    evidence = Evidence(story.records)
    hits = hits_of(evidence)
    assert hits["broker_kill"].midstream == 1
    figures = figures_of(evidence, hits)
    assert (figures.lost_said, figures.memories, figures.gaps["broker_kill"].number) == (1, 2, 0)


def test_the_time_from_a_cancel_to_the_stop_of_the_engine(story: Story) -> None:
    cancelled(story)
    latency = figures_of(Evidence(story.records), {}).cancel_latency
    assert latency.number == 1
    assert latency.most == pytest.approx(0.01)


def test_what_could_not_be_caused_is_told(story: Story, tmp_path: Path) -> None:
    story.chat()
    story.add("harness-run", "fault", name="zombie", number=1, state="not_run", why="no permission")
    story.quiet()
    assert verdict_of(story, tmp_path).not_run == {"zombie": "no permission"}


def test_a_violation_names_its_rule_its_subject_and_the_records(story: Story, tmp_path: Path) -> None:
    story.ask()
    story.begin()
    story.end(cursor(100, 1, 4), "another")
    story.done()
    story.quiet()
    verdict = verdict_of(story, tmp_path)
    assert verdict.broken == {"sha256"}
    assert str(verdict.violations[0]).startswith("sha256: s1/m1: the fingerprint is of another text (client-a.jsonl:")
    assert NONCE in (tmp_path / "client-a.jsonl").read_text().splitlines()[8]


@pytest.mark.parametrize(
    ("values", "spread"),
    [
        ([], Spread(0, 0.0, 0.0, 0.0)),
        ([3.0], Spread(1, 3.0, 3.0, 3.0)),
        ([float(n) for n in range(200, 0, -1)], Spread(200, 100.0, 198.0, 200.0)),
    ],
)
def test_percentiles(values: list[float], spread: Spread) -> None:
    assert Spread.of(values) == spread


def test_a_record_that_was_cut_off_at_the_end_is_no_record(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "client-a")
    journal.write("connect", connection=1, dialect="json")
    with journal.path.open("a") as file:
        file.write('{"t":1,"wha')
    assert judge(tmp_path).figures.clients == 1
    journal.close()


@pytest.mark.parametrize("line", ['{"t":1}', "[]", '{"t":1,"wha', '{"what":"x"}'])
def test_a_line_in_the_middle_that_is_no_record_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "client-a.jsonl").write_text(line + '\n{"t":1,"what":"connect"}\n')
    with pytest.raises(ValueError, match=r"client-a\.jsonl:1"):
        judge(tmp_path)
