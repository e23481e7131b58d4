"""The contract as a page: `python -m synth_assets.tables.document > docs/tables.md`, held up to date by a test."""

import sys

import polars as pl

from synth_assets.tables import TABLES, Column

WORDS = {pl.String: "text", pl.Int64: "integer", pl.Float64: "number", pl.Boolean: "yes/no", pl.Datetime: "UTC time"}


def markdown() -> str:
    """Return every table and column of the lake with its meaning, as Markdown."""
    lines = [
        "# Tables",
        "",
        'Every table of the lake, as `synth query "SELECT ..."` sees it. Texts are not in here: they live in payload',
        "files, and two views find them, `texts(sample_id, field, text)` and `seed_texts(seed_id, field, text)`.",
    ]
    for table in TABLES.values():
        lines += ["", f"## {table.name}", "", table.meaning, "", f"Key: {', '.join(table.key)}.", ""]
        lines += ["| column | type | meaning |", "|---|---|---|", *(row(column) for column in table.columns)]
    return "\n".join(lines) + "\n"


def row(column: Column) -> str:
    """Return a column as a row of a Markdown table."""
    kind = WORDS[column.dtype.base_type()] + (f", {column.unit}" if column.unit else "")
    return f"| `{column.name}` | {kind}{', may be null' if column.nullable else ''} | {column.meaning} |"


if __name__ == "__main__":
    sys.stdout.write(markdown())
