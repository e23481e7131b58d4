"""Two reads with somebody else's commit between them contradict each other, and nothing is wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest

from resources.lake import DuckLake, open_lake
from synth_assets.checks.proof import proven
from synth_assets.domain.settling import LOOKS, settled
from synth_assets.domain.transactions import Change
from synth_assets.errors import IntegrityError
from tests.test_lake import commit
from tests.test_ledger import DATASET, decided

APART = IntegrityError("two places say two things", where="here", fix="restore it")


@contextmanager
def alone(log: list[str]) -> Iterator[None]:
    log.append("alone")
    yield
    log.append("together")


@pytest.mark.parametrize("contradictions", range(LOOKS + 2))
def test_a_contradiction_counts_when_it_stands_while_nobody_commits(contradictions: int) -> None:
    log: list[str] = []

    def look() -> int:
        log.append("look")
        if log.count("look") <= contradictions:
            raise APART
        return log.count("look")

    if contradictions > LOOKS:
        with pytest.raises(IntegrityError):
            settled(look, lambda: alone(log))
    else:
        assert settled(look, lambda: alone(log)) == contradictions + 1
    assert log[:LOOKS] == ["look"] * min(LOOKS, contradictions + 1)
    assert ("alone" in log) == (contradictions >= LOOKS)


def test_rows_read_before_a_commit_of_others_and_a_chain_read_after_it_are_read_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, rival = open_lake(home, {}), open_lake(home, {})
    lake.commit(commit("one", decided("one", "b1")))
    read = DuckLake.read
    rivals = iter(range(100))

    def read_and_be_overtaken(reading: DuckLake, table: str, **equals: object) -> pl.DataFrame:
        rows = read(reading, table, **equals)
        if reading is lake and table == "decisions" and not lake._is_alone:
            number = next(rivals)
            rival.commit(commit(f"rival {number}", decided("", f"r{number}")))
        return rows

    monkeypatch.setattr(DuckLake, "read", read_and_be_overtaken)

    assert proven(lake, "decisions", dataset=DATASET)["batch"].n_unique() == 1 + LOOKS
    for each in (lake, rival):
        each.close()


def test_a_payload_file_that_is_named_while_it_is_looked_for_is_no_contradiction(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, rival = open_lake(home, {}), open_lake(home, {})
    frame = pl.DataFrame({"seed": ["one"]})
    stored = rival.put_frame(frame)
    lake.commit(commit("one", Change("decisions", decided("").rows, {"dataset": DATASET, "batch": "b1"})))
    chain = lake.chain

    def overtaken(dataset: str) -> object:
        monkeypatch.setattr(lake, "chain", chain)
        rival.commit(commit("rival", payload=[("seeds", None, stored)]))
        return chain(dataset)

    monkeypatch.setattr(lake, "chain", overtaken)

    assert lake.payload("seeds", dict(frame.schema), dataset=DATASET).equals(frame)
    for each in (lake, rival):
        each.close()
