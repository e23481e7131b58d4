"""A person is told which kinds of personal data samples were rejected for, and never the data."""

from pathlib import Path
from typing import Any

import orjson

from synth_assets.reports.personal import rejected_kinds
from tests.command import BATCH, DATASET, RUN, Home, tiny
from tests.fakes.chat_provider import ChatProvider

LEAK = "ada.lovelace@example.org"


class Leaking(ChatProvider):
    """Writes an address into every third review, and a card number too into every sixth."""

    def _as_asked(self, body: dict[str, Any], review: str) -> str:
        number = int(body["seed"])
        more = {0: f" Write to {LEAK} or pay with 4111 1111 1111 1111.", 3: f" Write to {LEAK}."}.get(number % 6, "")
        return super()._as_asked(body, review + more)


def test_status_run_and_lineage_say_which_kinds_of_personal_data_were_found(tmp_path: Path) -> None:
    recipes = tiny(tmp_path, batch={"accept": 12, "overdraw": 2.5, "max_attempts": 1})
    with Leaking() as provider:
        home = Home(tmp_path / "home", provider.base_url, recipes)
        ran = home.call(*RUN)
    with home.lake() as lake:
        kinds = rejected_kinds(lake, DATASET, BATCH)
        decisions = lake.read("decisions", dataset=DATASET, batch=BATCH, reason="pii")
    assert kinds["email"] == decisions.height > kinds["credit_card"] > 0

    said = f"{kinds['email']} email, {kinds['credit_card']} credit_card"
    assert said in ran.out
    status = home.call("status", DATASET)
    assert f"by kind: {said}" in status.out
    assert orjson.loads(home.call("status", DATASET, "--json").out)["batches"][0]["pii_kinds"] == kinds
    lineage = home.call("lineage", "--sample", decisions["sample_id"][0], "--json")
    [decided] = [each for each in orjson.loads(lineage.out)["down"] if each["kind"] == "decision"]
    assert "email" in decided["facts"]["kinds"]
    for told in (ran, status, lineage):
        assert LEAK not in told.out + told.err
