"""SQL models: what a header must say, how references are followed, and what a wrong one is told."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dbt_like_sql.audits import RULES
from dbt_like_sql.compiler import FOLDER, Project, load_models, parse_model, shipped_models
from dbt_like_sql.document import markdown
from synth_assets.errors import UsageError
from synth_assets.tables import TABLES

PROJECT = Path(__file__).parent.parent

STAGED = """\
-- Every sample.
-- grain: one row per sample_id
-- owner: team:tests
-- columns:
--   sample_id, batch: as in samples
--   is_long yes/no: Whether it has more than
--     a hundred characters.

select sample_id, batch, characters > 100 as is_long
from {{ source('samples') }} -- {{ source('nothing') }} in a comment is none
"""
COUNTED = """\
-- Samples by batch; long ones
-- apart.
-- grain: one row per batch
-- owner: team:tests
-- columns:
--   batch: as in samples
--   sample_count integer, samples: Samples.
--   long_count integer, may be null: Long ones; null for no good reason.
-- audits:
--   unique_grain
--   not_null
--   at_most(long_count, sample_count)

with
counted as (
    select batch, count(*) as sample_count, count(*) filter (is_long) as long_count
    from {{ ref('stg_samples') }}
    where batch <> 'a, from -- ( b'
    group by all
)
select
    counted.batch,
    sample_count,
    case when long_count is distinct from sample_count then long_count end as long_count
from counted
"""
FILES = {"staging/stg_samples.sql": STAGED, "marts/counted.sql": COUNTED}

Load = Callable[..., Project]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads the two models with some files written otherwise."""

    def load(**changed: str) -> Project:
        for path, text in (FILES | {path.replace("__", "/") + ".sql": text for path, text in changed.items()}).items():
            (tmp_path / "models" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "models" / path).write_text(text, encoding="utf-8")
        return load_models(tmp_path / "models")

    return load


# --- what is read -----------------------------------------------------------------------------------------------------


def test_a_header_says_what_a_model_is(load: Load) -> None:
    header = load().models["counted"].header

    assert header.description == "Samples by batch; long ones apart."
    assert (header.grain, header.owner) == (("batch",), "team:tests")
    assert [(c.name, c.nullable, c.unit, c.meaning) for c in header.columns] == [
        ("batch", False, None, "Batch of the sample."),
        ("sample_count", False, "samples", "Samples."),
        ("long_count", True, None, "Long ones; null for no good reason."),
    ]


def test_a_column_of_a_table_keeps_type_and_meaning_of_the_contract(load: Load) -> None:
    staged = load().models["stg_samples"].header.columns
    contract = {column.name: column for column in TABLES["samples"].columns}

    assert staged[:2] == (contract["sample_id"], contract["batch"])
    assert staged[2].meaning == "Whether it has more than a hundred characters."


def test_a_model_becomes_one_select_with_all_it_is_built_on(load: Load) -> None:
    models = load()

    assert models.sources("counted") == {"samples"}
    assert models.compiled("counted").startswith("with\nstg_samples as not materialized (\nselect sample_id")
    assert "from lake.samples" in models.compiled("counted")
    assert models.compiled("counted").endswith(
        "select\n    batch,\n    sample_count,\n    long_count\nfrom counted\norder by batch\n"
    )
    assert "{{" not in models.compiled("counted")
    assert "'a, from -- ( b'" in models.compiled("counted")


def test_models_stand_after_those_they_read_whatever_their_names(load: Load) -> None:
    """The mart `above` reads `zebra`, which reads `counted`."""
    zebra = COUNTED.replace("stg_samples", "counted").replace("(is_long)", "(long_count > 1)")
    models = load(marts__zebra=zebra, marts__above=zebra.replace("ref('counted')", "ref('zebra')"))

    assert list(models.models) == ["stg_samples", "counted", "zebra", "above"]
    assert [model.name for model in models.lineage("zebra")] == ["stg_samples", "counted", "zebra"]


def test_an_audit_is_one_select_of_the_rows_that_break_it(load: Load) -> None:
    audits = {audit.name: audit for audit in load().models["counted"].audits}

    assert list(audits) == ["unique_grain", "not_null", "at_most_long_count"]
    assert audits["at_most_long_count"].sentence == "long_count never exceeds sample_count."
    assert audits["at_most_long_count"].sql == (
        "select batch, long_count, sample_count\nfrom counted\nwhere long_count > sample_count\norder by batch\n"
    )
    assert "where batch is null or sample_count is null\n" in audits["not_null"].sql


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "line", "what"),
    [
        ("-- Samples by batch; long ones\n-- apart.\n", "", 1, "lacks its first sentence"),
        ("-- owner: team:tests\n", "", 1, "lacks `owner:`"),
        ("-- audits:\n--   unique_grain\n--   not_null\n--   at_most(long_count, sample_count)\n", "", 1, "`audits:`"),
        ("-- owner:", "-- colour: red\n-- owner:", 4, "no key 'colour'"),
        ("-- owner:", "-- owner: team:twice\n-- owner:", 5, "`owner:` stands twice"),
        ("team:tests", "somebody", 4, "'somebody' cannot be read"),
        ("one row per batch", "batch", 3, "'batch' cannot be read"),
        ("one row per batch", "one row per day", 3, "names 'day', which is no column"),
        ("-- columns:", "-- columns: some", 5, "`columns:` is written otherwise"),
        ("-- owner: team:tests", "-- owner:", 4, "`owner:` is written otherwise"),
        ("--   batch:", "-- batch as ever\n--   batch:", 6, "belongs to no key"),
        ("-- owner: team:tests", "-- owner: team:tests\n--   team:others", 5, "belongs to no key"),
        ("batch: as in samples", "day: as in samples", 6, "table 'samples' has no column 'day'"),
        ("batch: as in samples", "batch: as in nowhere", 6, "table 'nowhere' has no column 'batch'"),
        ("integer, samples: Samples.", "int: Samples.", 7, "describes no column"),
        ("integer, samples: Samples.", "integer:", 7, "describes no column"),
        ("integer, samples: Samples.", "integer: samples", 7, "describes no column"),
        ("--   sample_count", "--   batch text: Again.\n--   sample_count", 7, "'batch' is described twice"),
        (
            "--   batch: as in samples\n",
            "--   batch, label: as in samples\n",
            6,
            "'label' is described but not selected",
        ),
        ("--   sample_count integer, samples: Samples.\n", "", 22, "column 'sample_count' is not described"),
        ("    sample_count,\n    case", "    case", 7, "'sample_count' is described but not selected"),
        ("    counted.batch,\n    sample_count,\n", "    sample_count,\n    counted.batch,\n", 22, "another order"),
        ("    counted.batch,\n", "    counted.batch,\n    count(*),\n", 23, "has no name"),
        ("    counted.batch,\n", "    counted.*,\n", 22, "has no name"),
        ("    counted.batch,\n", "    counted.batch || '' batch,\n", 22, "has no name"),
        ("--   not_null", "--   never_wrong", 11, "no audit 'never_wrong'"),
        ("--   not_null", "--   not null", 11, "'not null' is no audit"),
        ("--   not_null", "--   unique_grain", 11, "'unique_grain' stands twice"),
        ("(long_count, sample_count)", "(long_count)", 12, "not about 1 columns"),
        ("(long_count, sample_count)", "(long_count, cost)", 12, "'cost', which is no column"),
        ("{{ ref('stg_samples') }}", "{{ ref('stg_nothing') }}", 17, "no model 'stg_nothing'"),
        ("{{ ref('stg_samples') }}", "{{ source('stg_samples') }}", 17, "no table 'stg_samples'"),
        ("{{ ref('stg_samples') }}", "{{ ref(stg_samples) }}", 17, "tag is unknown"),
        ("{{ ref('stg_samples') }}", "{% raw %}", 17, "tag is unknown"),
        ("{{ ref('stg_samples') }}", "{{ ref('counted') }}", 17, "read each other: counted <- counted"),
    ],
)
def test_a_wrong_model_is_refused_with_its_line(load: Load, old: str, new: str, line: int, what: str) -> None:
    assert old in COUNTED

    with pytest.raises(UsageError) as refused:
        load(marts__counted=COUNTED.replace(old, new, 1))

    assert what in refused.value.what
    assert refused.value.where == f"models/marts/counted.sql:{line}"
    assert refused.value.fix


def test_models_that_read_each_other_are_refused(load: Load) -> None:
    with pytest.raises(UsageError, match="read each other") as refused:
        load(
            marts__counted=COUNTED.replace("stg_samples", "zebra"),
            marts__zebra=COUNTED.replace("stg_samples", "counted"),
        )

    assert refused.value.where in {"models/marts/counted.sql:17", "models/marts/zebra.sql:17"}


def test_a_staging_model_has_no_audits(load: Load) -> None:
    with pytest.raises(UsageError, match="no key 'audits'"):
        load(staging__stg_samples=STAGED.replace("\n\nselect", "\n-- audits:\n--   not_null\n\nselect"))


@pytest.mark.parametrize("path", ["marts__samples", "marts__stg_samples"])
def test_a_name_stands_for_one_thing(load: Load, path: str) -> None:
    with pytest.raises(UsageError, match="is taken"):
        load(**{path: COUNTED})


def test_a_file_is_named_as_its_model() -> None:
    with pytest.raises(UsageError, match="'Two Words' is no name"):
        parse_model("marts", "models/marts/Two Words.sql", COUNTED)


def test_a_file_without_a_select_is_refused(load: Load) -> None:
    with pytest.raises(UsageError, match="has no SELECT"):
        load(marts__counted=COUNTED[: COUNTED.index("with")])


# --- what is shipped --------------------------------------------------------------------------------------------------


def test_every_shipped_staging_model_is_read_by_a_mart() -> None:
    models = shipped_models()
    used = {model.name for mart in models.marts for model in models.lineage(mart.name)}

    assert used == set(models.models)


def test_only_staging_models_read_tables() -> None:
    readers = {model.layer for model in shipped_models().models.values() if model.sources}

    assert readers == {"staging"}


def test_every_mart_audits_its_grain_and_what_must_not_be_missing() -> None:
    for model in shipped_models().marts:
        assert {"unique_grain", "not_null"} <= {audit.name for audit in model.audits}, model.name


def test_every_audit_of_the_library_is_used() -> None:
    asked = {audit.name for model in shipped_models().marts for audit in model.audits}

    assert [rule for rule in RULES if not any(name.startswith(rule) for name in asked)] == []


def test_every_file_of_the_package_is_a_model_or_code() -> None:
    files = {file.stem for file in FOLDER.rglob("*.sql")}

    assert files == set(shipped_models().models)


def test_the_page_about_the_marts_says_what_their_headers_say() -> None:
    assert (PROJECT / "docs" / "marts.md").read_text(encoding="utf-8") == markdown()
