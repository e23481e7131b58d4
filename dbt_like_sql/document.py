"""The marts as a page: `python -m dbt_like_sql.document > docs/marts.md`, held up to date by a test."""

import sys

from dbt_like_sql.compiler import Model, shipped_models
from synth_assets.tables.document import row


def markdown() -> str:
    """Return every mart with its columns and audits, as Markdown."""
    lines = [
        "# Marts",
        "",
        'Figures over all datasets. `synth query "SELECT * FROM marts.funnel"` computes them from the lake when asked.',
        "In Dagster they are the assets of the group `marts`, kept as `marts/NAME.parquet` under `SYNTH_HOME`; their",
        "audits are checks there. The SQL is in `dbt_like_sql/`.",
    ]
    for model in shipped_models().marts:
        lines += _section(model)
    return "\n".join(lines) + "\n"


def _section(model: Model) -> list[str]:
    header = model.header
    return [
        *("", f"## {model.name}", "", header.description, ""),
        *(f"One row per {', '.join(header.grain)}. Owner: {header.owner}.", ""),
        *("| column | type | meaning |", "|---|---|---|", *(row(column) for column in header.columns)),
        *("", "Audits:", "", *(f"- {audit.sentence}" for audit in model.audits)),
    ]


if __name__ == "__main__":
    sys.stdout.write(markdown())
