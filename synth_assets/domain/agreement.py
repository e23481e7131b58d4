"""Whether rows are those the audit chain bound: the one comparison that stages, releases and verification share."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from synth_assets.domain.binding import by_scope, fingerprint, state_of
from synth_assets.domain.chain import Chain
from synth_assets.tables import TABLES


def strays(chain: Chain, table: str, rows: pl.DataFrame, equals: Mapping[str, Any]) -> list[str]:
    """Return the scopes whose rows are not those the chain binds, in words; empty if all are."""
    scope = TABLES[table].scope
    wanted = [(place, equals[name]) for place, name in enumerate(scope) if name in equals and name != "dataset"]
    bound = {
        key: found
        for key, found in chain.rows.get(table, {}).items()
        if all(key[place] == value for place, value in wanted)
    }
    stored = by_scope(table, rows)
    wrong = []
    for key in sorted({*bound, *stored}, key=str):
        said, part = bound.get(key), stored.get(key, rows.clear())
        if said is None or part.height != said.count or fingerprint(table, part, form=said.form) != said.sha256:
            numbers = f"{part.height} rows, {said.count if said else 0} bound"
            wrong.append(f"{', '.join(str(value) for value in key if value != chain.dataset)}: {numbers}")
    return wrong


def moved(chain: Chain, table: str, rows: Sequence[Mapping[str, Any]], key: Mapping[str, Any]) -> list[str]:
    """Return the rows of a state table that are not what the entries add up to, in words; empty if all are.

    Args:
        chain: of the dataset.
        table: whose rows.
        rows: all that equal ``key``.
        key: values of columns of the table's key.
    """
    places = {name: place for place, name in enumerate(TABLES[table].key)}
    said = {
        found: values
        for found, values in chain.state.get(table, {}).items()
        if all(found[places[name]] == value for name, value in key.items())
    }
    stored = dict(state_of(table, row) for row in rows)
    wrong = ["there are rows with one key"] if len(stored) != len(rows) else []
    for found in sorted({*said, *stored}, key=str):
        known, held = said.get(found, {}), stored.get(found, {})
        names = sorted(name for name in {*known, *held} if known.get(name) != held.get(name))
        if names:
            wrong.append(f"{', '.join(str(value) for value in found if value != chain.dataset)}: {names[0]}")
    return wrong
