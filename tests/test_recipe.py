"""Reading a dataset's folder: what is whole loads, and every fault names its file, its line and its cure."""

import contextlib
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.places import PROJECT
from synth_assets.domain.tagging import KINDS
from synth_assets.errors import UsageError
from synth_assets.recipe import BrokenRecipe, Recipe, RecipeModel, discover, load_recipe
from synth_assets.recipe.loader import template_sha256
from synth_assets.recipe.strict_yaml import parse
from synth_assets.recipe.template import load_template
from tests.fakes.recipes import FILES, RECIPE, write_recipe

SHIPPED = Path(__file__).parent.parent / "recipes" / "movie_sentiment"
MEBIBYTE = 2**20


def broken(folder: Path) -> UsageError:
    with pytest.raises(UsageError) as caught:
        load_recipe(folder)
    return caught.value


def edited(tmp_path: Path, old: str, new: str, *, file: str = "recipe.yaml") -> Path:
    """Write the dataset with one piece of one file replaced."""
    folder = write_recipe(tmp_path)
    text = (folder / file).read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times in {file}"
    (folder / file).write_text(text.replace(old, new), encoding="utf-8")
    return folder


def line_with(file: Path, piece: str) -> int:
    """Return the number of the first line that is ``piece``, or else has it."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return lines.index(piece) + 1 if piece in lines else next(n for n, line in enumerate(lines, 1) if piece in line)


# --- what is whole


def test_the_shipped_recipe_loads() -> None:
    recipe = load_recipe(SHIPPED)

    assert recipe.dataset == "movie_sentiment"
    assert sorted(recipe.model.labels) == ["negative", "positive"]
    assert {template.mode for template in recipe.templates} == {"completion", "chat"}
    assert {row.table for row in recipe.shots} == {"shots", "other_shots"}


def test_the_shipped_recipe_gives_both_labels_the_same_openings() -> None:
    openings = load_recipe(SHIPPED).model.openings

    assert [opening for opening in openings if "label" in opening.when] == []


def test_what_the_documentation_shows_of_tags_and_test_sets_can_be_written_into_a_recipe(tmp_path: Path) -> None:
    page = (PROJECT / "docs" / "recipes.md").read_text(encoding="utf-8")
    shown = [yaml.safe_load(block.partition("```")[0]) for block in page.split("```yaml\n")[1:]]
    keys = {key: value for block in shown for key, value in block.items()}
    folder = with_test_rows(tmp_path, TEST_ROWS)
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe | keys), encoding="utf-8")

    loaded = load_recipe(folder)

    assert {rule.kind for rule in loaded.model.tags.values()} == set(KINDS) - {"axis"}
    assert loaded.model.real_data is not None
    assert loaded.model.real_data.reader == "folder"


def test_the_fixture_recipe_loads_and_finds_its_parts(tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path))

    assert [template.name for template in recipe.templates] == ["lines", "talk"]
    assert recipe.template("talk").messages[0] == ("system", "You write about houses.")
    assert [row.fields["text"] for row in recipe.seeds][:2] == ["bright", "warm"]
    assert recipe.promising(5).model.batch.accept == 5
    assert recipe.model.batch.accept == 12


def test_the_same_keys_in_another_order_are_the_same_recipe(tmp_path: Path) -> None:
    here = load_recipe(write_recipe(tmp_path))
    turned = dict(reversed(RECIPE["labels"].items()))

    there = load_recipe(write_recipe(tmp_path, labels=turned))

    assert here.sha256 == there.sha256
    assert here.sha256 != here.promising(11).sha256


def test_a_verdict_can_be_derived_again_from_the_stored_recipe(tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path))

    assert RecipeModel.model_validate_json(recipe.canonical) == recipe.model


def test_a_templates_hash_is_its_text_and_front_matter_not_its_place(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one = load_recipe(write_recipe(tmp_path / "one")).template("lines")
    two = load_recipe(write_recipe(tmp_path / "two")).template("lines")
    raised = load_recipe(edited(tmp_path, 'version: "1"', 'version: "2"', file="prompts/lines.md")).template("lines")

    assert template_sha256(one) == template_sha256(two)
    assert template_sha256(one) != template_sha256(raised)


def test_a_broken_folder_takes_down_itself_only(tmp_path: Path) -> None:
    write_recipe(tmp_path)
    write_recipe(tmp_path, dataset="other", labels={"a": {"share": 0.2}, "b": {"share": 0.2}})
    folder = write_recipe(tmp_path, dataset="unreadable")
    (folder / "recipe.yaml").write_bytes(b"dataset: unreadable\ndescription: \xff\xfe\n")

    found = {each.dataset: type(each) for each in discover(tmp_path)}

    assert found == {"other": BrokenRecipe, "tiny": Recipe, "unreadable": BrokenRecipe}


# --- what the text of recipe.yaml may get wrong

FAULTS: dict[str, tuple[str, str, str, str, str]] = {
    # fault: what is replaced, by what, piece of the line named, piece of `what`, piece of `fix`
    "a key given twice": (
        "cadence: daily",
        "cadence: daily\ncadence: weekly",
        "cadence: weekly",
        "key 'cadence' is given twice",
        "remove one",
    ),
    "a nested key given twice": ("  accept: 12", "  accept: 12\n  accept: 13", "accept: 13", "'accept'", "remove one"),
    "a misspelled key": ("  overdraw:", "  overdaw:", "overdaw", "batch.overdaw", "did you mean `overdraw`?"),
    "a misspelled key that was required": ("labels:", "lables:", "lables", "lables", "did you mean `labels`?"),
    "a key of nothing": ("cadence:", "zzz: 1\ncadence:", "zzz", "zzz", "remove `zzz`"),
    "a missing key": ("task_type: classification\n", "", "dataset:", "task_type: it is missing", "add `task_type:`"),
    "a wrong type": ("accept: 12", "accept: twelve", "accept", "batch.accept", "correct the value"),
    "a number for a text": ("license: cc0-1.0", "license: 10", "license", "license", "put the value in quotes"),
    "a number out of range": ("top_p: 0.9", "top_p: 1.9", "top_p", "generator.top_p", "correct"),
    "an infinite number": ("temperature: 0.8", "temperature: .nan", "temperature", "generator.temperature", "correct"),
    "an infinite weight": ("weight: 2", "weight: .inf", "weight: .inf", "axes.tone.wry.weight", "correct"),
    "a value outside a closed list": ("cadence: daily", "cadence: monthly", "cadence", "cadence", "correct"),
    "shares that do not add up": (
        "positive:\n    share: 0.5",
        "positive:\n    share: 0.4",
        "labels:",
        "0.9, not 1",
        "",
    ),
    "splits that do not add up": ("test: 0.0", "test: 0.1", "splits:", "splits: shares add up to 1.1", "correct"),
    "a negative split": ("train: 1.0\n  validation: 0.0", "train: 1.5\n  validation: -0.5", "splits:", "splits", ""),
    "a split of no number": ("test: 0.0", "test: .nan", "test: .nan", "splits.test", "correct"),
    "an unknown time zone": ("timezone: UTC", "timezone: Europe/Atlantis", "timezone", "IANA", "correct"),
    "a path for a time zone": ("timezone: UTC", "timezone: ../../etc/passwd", "timezone", "IANA", "correct"),
    "a start that is no date": ("start: '2026-11-01'", "start: soon", "start", "no key of cadence daily", "correct"),
    "a start that is a date but no key": ("start: '2026-11-01'", "start: 2026-11-1", "start", "no key", "correct"),
    "a start of another cadence": ("cadence: daily", "cadence: hourly", "start", "%Y-%m-%dT%H", "correct"),
    "a rule without bound": ("  refusal:\n    max: 0\n", "  refusal:\n", "refusal", "rules.refusal", "correct"),
    "a rule of nothing measured": ("  refusal:", "  beauty:", "beauty", "rules.beauty", "correct"),
    "an owner nobody can reach": ("- team:tests", "- somebody", "owners", "team:NAME", "correct"),
    "a name with a path in it": ("- name: lines", "- name: ../lines", "../lines", "prompts.0.name", "correct"),
    "a prompt named twice": ("- name: talk", "- name: lines", "prompts:", "names one twice", "correct"),
    "an opening for no axis": ("tone:\n    - plain\n", "tune:\n    - plain\n", "openings:", "tune", "correct"),
    "an axis templates know otherwise": ("  part:\n", "  rows:\n", "axes:", "rows", "correct"),
    "a seed table outside its folder": ("seeds/words.jsonl", "../words.jsonl", "file:", "seeds.words.file", "correct"),
    "a table matched by no axis": ("match:\n    - label", "match:\n    - mood", "  words:", "mood", "correct"),
    "quality by equal ends": ("worst: 0.5", "worst: 0.0", "repetition", "must differ", "correct"),
    "a tag of no kind": (
        "cadence: daily",
        "cadence: daily\ntags: {mood: {values: {}}}",
        "tags:",
        "tags.mood",
        "add `kind:`",
    ),
    "a tag of an unknown kind": (
        "cadence: daily",
        "cadence: daily\ntags:\n  mood: {kind: guess}",
        "  mood:",
        "there is no kind 'guess'; write one of 'constant', 'axis', 'language'",
        "correct",
    ),
    "a key of another kind of tag": (
        "cadence: daily",
        "cadence: daily\ntags:\n  mood:\n    kind: constant\n    value: wry\n    axis: part",
        "    axis: part",
        "tags.mood.axis",
        "remove `axis`",
    ),
    "a misspelled key of a tag": (
        "cadence: daily",
        "cadence: daily\ntags:\n  mood:\n    kind: language\n    min_probabilty: 0.5",
        "    min_probabilty",
        "tags.mood.min_probabilty",
        "did you mean `min_probability`?",
    ),
    "a tag of an axis that is none": (
        "cadence: daily",
        "cadence: daily\ntags:\n  mood:\n    kind: axis\n    axis: colour",
        "    axis: colour",
        "tags.mood.axis: 'colour' is none of the axes ['part', 'tone']",
        "correct",
    ),
    "a tag by the name of an axis": (
        "cadence: daily",
        "cadence: daily\ntags:\n  tone: {kind: constant, value: dry}",
        "  tone: {kind",
        "tags.tone: an axis has this name",
        "correct",
    ),
    "a word for two values of a tag": (
        "cadence: daily",
        "cadence: daily\ntags:\n  mood:\n    kind: words\n    values: {wry: [Oddly, so so], dry: [oddly]}",
        "    values: {wry",
        "'oddly' is listed twice",
        "correct",
    ),
    "a phrase without a word": (
        "cadence: daily",
        "cadence: daily\ntags:\n  mood:\n    kind: words\n    values: {wry: ['!!']}",
        "    values: {wry",
        "tags.mood.values.wry.0",
        "correct",
    ),
    "two buckets with one bound": (
        "cadence: daily",
        "cadence: daily\ntags:\n  size:\n    kind: buckets\n    of: words\n    values: {small: 1, large: 1.0}",
        "    values: {small",
        "two values begin at 1",
        "correct",
    ),
    "a bucket of nothing measured": (
        "cadence: daily",
        "cadence: daily\ntags:\n  size:\n    kind: buckets\n    of: beauty\n    values: {small: 1}",
        "    of: beauty",
        "tags.size.of",
        "correct",
    ),
    "a similarity no cosine can have": (
        "cadence: daily",
        "cadence: daily\ntags:\n  topic:\n    kind: centroids\n    values: {a: [b]}\n    min_similarity: 1.5",
        "    min_similarity: 1.5",
        "tags.topic.min_similarity",
        "correct",
    ),
    "real data without its rows": (
        "cadence: daily",
        "cadence: daily\nreal_data: {reader: movie_reviews}",
        "real_data:",
        "reader movie_reviews takes test_rows, and nothing else",
        "correct",
    ),
    "a test set of the folder with rows to choose": (
        "cadence: daily",
        "cadence: daily\nreal_data: {reader: folder, test: test.jsonl, source: a test of ours, test_rows: 100}",
        "real_data:",
        "reader folder takes source and test, and nothing else",
        "correct",
    ),
    "a test set outside its folder": (
        "cadence: daily",
        "cadence: daily\nreal_data: {reader: folder, test: ../test.jsonl, source: a test of ours}",
        "real_data:",
        "real_data.test",
        "correct",
    ),
    "a tab": ("cadence: daily", "\tcadence: daily", "cadence", "not valid YAML", "line named above"),
    "an anchor used": ("cadence: daily", "cadence: &c daily\ncron: *c", "cadence", "anchors and aliases", ""),
    "a merge": ("  test: 0.0", "  <<: {test: 0.0}", "<<", "splits.<<", "correct"),
}


@pytest.mark.parametrize(("old", "new", "line", "what", "fix"), FAULTS.values(), ids=FAULTS)
def test_a_fault_in_the_recipe_names_file_line_and_cure(
    tmp_path: Path, old: str, new: str, line: str, what: str, fix: str
) -> None:
    folder = edited(tmp_path, old, new)
    file = folder / "recipe.yaml"

    error = broken(folder)

    assert what in error.what
    assert error.where.split(" and ")[0] == f"{file}:{line_with(file, line)}"
    assert error.fix
    assert fix in error.fix
    assert error.exit_code == 2


TEST_ROWS = {"A door that sings.": "positive", "The cellar floods.": "negative"}
SHIPPED_TEST = {"reader": "folder", "test": "test.jsonl", "source": "written for a test"}


def with_test_rows(root: Path, rows: dict[str, str]) -> Path:
    lines = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows.items())
    return write_recipe(root, real_data=SHIPPED_TEST, files={"test.jsonl": lines})


def test_a_test_set_of_the_folder_is_read_and_is_no_seed(tmp_path: Path) -> None:
    recipe = load_recipe(with_test_rows(tmp_path, TEST_ROWS))

    assert {row.fields["text"]: row.fields["label"] for row in recipe.test} == TEST_ROWS
    assert not {row.fields["text"] for row in recipe.seeds} & set(TEST_ROWS)


@pytest.mark.parametrize(
    ("rows", "line", "what"),
    [
        (TEST_ROWS | {"A stair.": "neutral"}, ":3", "needs a label of the recipe"),
        (TEST_ROWS | {"the  CELLAR floods.": "negative"}, ":3", "also an earlier test row"),
        (TEST_ROWS | {"Damp": "negative"}, ":3", "also a row of seed table 'words'"),
        ({"The cellar floods.": "negative"}, "", "no test row has label positive"),
        ({}, "", "table 'test' is empty"),
    ],
)
def test_a_fault_in_the_test_set_names_file_line_and_cure(
    tmp_path: Path, rows: dict[str, str], line: str, what: str
) -> None:
    folder = with_test_rows(tmp_path, rows)

    error = broken(folder)

    assert what in error.what
    assert error.where == f"{folder / 'test.jsonl'}{line}"
    assert error.fix


def test_a_test_set_that_is_not_there_names_the_key(tmp_path: Path) -> None:
    error = broken(write_recipe(tmp_path, real_data=SHIPPED_TEST))

    assert "`real_data:`" in error.fix


def test_hourly_batches_are_utc_only(tmp_path: Path) -> None:
    load_recipe(write_recipe(tmp_path, cadence="hourly", start="2026-11-01T00"))

    error = broken(write_recipe(tmp_path, cadence="hourly", start="2026-11-01T00", timezone="Europe/Berlin"))

    assert "hourly batches are UTC only" in error.what


def test_more_than_one_fault_is_counted(tmp_path: Path) -> None:
    error = broken(write_recipe(tmp_path, cadence="never", language="english", license=None))

    assert "(and 2 more)" in error.what


def test_the_dataset_is_called_like_its_folder(tmp_path: Path) -> None:
    folder = edited(tmp_path, "dataset: tiny", "dataset: small")

    error = broken(folder)

    assert error.where == f"{folder / 'recipe.yaml'}:1"
    assert error.fix == "set `dataset: tiny`"


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words", "# nothing\n"])
def test_a_recipe_without_keys_is_refused(tmp_path: Path, text: str) -> None:
    error = broken(write_recipe(tmp_path, files={"recipe.yaml": text}))

    assert error.what == "expected keys and values"


def test_a_folder_without_recipe_is_no_dataset(tmp_path: Path) -> None:
    error = broken(tmp_path / "nothing")

    assert "no dataset 'nothing'" in error.what
    assert "synth init nothing" in error.fix


def test_a_recipe_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    folder = write_recipe(tmp_path)
    (folder / "recipe.yaml").write_bytes(b"dataset: tiny\ndescription: caf\xe9\n")

    error = broken(folder)

    assert error.where == str(folder / "recipe.yaml")
    assert "UTF-8" in error.fix


# --- YAML that means what it shows


def plain(text: str) -> Any:
    return parse(text, file=Path("x.yaml")).value


@pytest.mark.parametrize("word", ["no", "NO", "yes", "on", "Off", "y", "n"])
def test_a_word_that_yaml_takes_for_a_boolean_stays_a_word(word: str) -> None:
    assert plain(f"{word}: {word}") == {word: word}


@pytest.mark.parametrize("text", ["2026-11-01", "2026-11-01T06:00:00Z", "1:30", "010", "0x1F", "12:30:45"])
def test_dates_times_and_other_bases_stay_text(text: str) -> None:
    assert plain(f"start: {text}") == {"start": text}


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("False", False), ("12", 12), ("-3", -3), ("0", 0), ("0.5", 0.5), ("~", None)]
)
def test_what_looks_like_json_is_read_like_json(text: str, value: Any) -> None:
    read = plain(f"key: {text}")["key"]

    assert read == value
    assert type(read) is type(value)


def test_a_day_may_be_written_without_quotes(tmp_path: Path) -> None:
    folder = edited(tmp_path, "start: '2026-11-01'", "start: 2026-11-01")

    assert load_recipe(folder).model.start == "2026-11-01"


def test_a_label_may_be_called_no(tmp_path: Path) -> None:
    folder = edited(tmp_path, "positive:\n    share: 0.5\n  negative:", "yes:\n    share: 0.5\n  no:")
    text = (folder / "recipe.yaml").read_text(encoding="utf-8").replace("- negative", "- no")
    (folder / "recipe.yaml").write_text(text, encoding="utf-8")
    seeds = folder / "seeds/words.jsonl"
    seeds.write_text(seeds.read_text().replace('"positive"', '"yes"').replace('"negative"', '"no"'))

    assert list(load_recipe(folder).model.labels) == ["yes", "no"]


def test_a_seed_row_that_no_request_would_match_is_refused_with_the_value_that_was_meant(tmp_path: Path) -> None:
    folder = write_recipe(tmp_path)
    seeds = folder / "seeds/words.jsonl"
    seeds.write_text(seeds.read_text() + '{"text": "grim", "label": "negativ"}\n')

    with pytest.raises(UsageError, match="matches by label, and 'negativ' is none of its values") as refused:
        load_recipe(folder)

    assert refused.value.where.endswith("words.jsonl:7")
    assert refused.value.fix == "did you mean 'negative'?"


LAUGHS = "a0: &a0 [ha, ha]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30)
)  # 2 * 10**29 words, were they written out


@pytest.mark.parametrize("text", [LAUGHS, "a: &a [*a]", "a: &a {b: *a}"], ids=["laughs", "list", "mapping"])
def test_a_document_that_unfolds_without_end_is_refused_at_once(text: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(UsageError, match="not valid YAML"):
            plain(text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 64 * MEBIBYTE


@pytest.mark.parametrize("text", ["[" * 1_500, "- " * 5_000, "{a: " * 1_500], ids=["[", "-", "{"])
def test_a_document_too_deep_to_walk_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not valid YAML"):
        plain(text)


@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!|>'\"#%@`,?~ \n\t0.<\x00\ud800é"), max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(UsageError):
        plain(text)


# --- prompts


def prompt_fault(tmp_path: Path, name: str, old: str, new: str) -> tuple[UsageError, Path]:
    folder = edited(tmp_path, old, new, file=f"prompts/{name}.md")
    return broken(folder), folder / "prompts" / f"{name}.md"


@pytest.mark.parametrize("version", ["1", "1.0", "2026-11-01 ", "1e3"])
def test_a_version_without_quotes_is_asked_to_be_quoted(tmp_path: Path, version: str) -> None:
    if version.strip() in {"2026-11-01", "1e3"}:  # text already: nothing to lose
        assert (
            load_recipe(edited(tmp_path, 'version: "1"', f"version: {version}", file="prompts/lines.md"))
            .templates[0]
            .version
            == version.strip()
        )
        return

    error, file = prompt_fault(tmp_path, "lines", 'version: "1"', f"version: {version}")

    assert error.where == f"{file}:3"
    assert error.fix == "put the value in quotes"


def test_a_prompt_is_called_like_its_file(tmp_path: Path) -> None:
    error, file = prompt_fault(tmp_path, "lines", 'name: lines\nversion: "1"', 'version: "1"\nname: line')

    assert error.where == f"{file}:3"
    assert error.fix == "set `name: lines`"


def test_a_prompt_that_is_not_there_is_missed(tmp_path: Path) -> None:
    folder = write_recipe(tmp_path, files={"prompts/lines.md": None})

    error = broken(folder)

    assert error.where == str(folder / "prompts" / "lines.md")
    assert error.what == "there is no file prompts/lines.md"
    assert error.fix == "write the file, or remove it from `prompts:`"


def test_a_misspelled_prompt_is_told_the_name_of_the_nearest_file(tmp_path: Path) -> None:
    error = broken(write_recipe(tmp_path, prompts=[{"name": "lines"}, {"name": "talkk"}]))

    assert error.what == "there is no file prompts/talkk.md"
    assert error.fix == "did you mean `talk`?"


def test_a_prompt_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    folder = write_recipe(tmp_path)
    (folder / "prompts" / "lines.md").write_bytes(FILES["prompts/lines.md"].encode() + b"\xff")

    error = broken(folder)

    assert error.where == str(folder / "prompts" / "lines.md")
    assert "UTF-8" in error.fix


@pytest.mark.parametrize("text", ["no front matter", "---\nname: lines\n", "", "\n---\nname: lines\n---\n"])
def test_a_prompt_without_front_matter_is_refused(tmp_path: Path, text: str) -> None:
    error = broken(write_recipe(tmp_path, files={"prompts/lines.md": text}))

    assert error.what == "front matter is missing"
    assert error.where.endswith("lines.md:1")


def test_a_misspelled_key_of_a_prompt_is_corrected_at_its_line(tmp_path: Path) -> None:
    error, file = prompt_fault(tmp_path, "lines", "format: line", "fromat: line")

    assert error.where == f"{file}:6"
    assert error.fix == "did you mean `format`?"


def test_a_chat_without_user_is_refused(tmp_path: Path) -> None:
    error, file = prompt_fault(tmp_path, "talk", "## user", "## User")

    assert "no `## user` section" in error.what
    assert error.where == f"{file}:8"
    assert "## user" in error.fix


def test_text_above_the_first_section_of_a_chat_is_not_lost_in_silence(tmp_path: Path) -> None:
    error, _ = prompt_fault(tmp_path, "talk", "## system", "Be kind.\n## system")

    assert "text before its first section" in error.what


def test_a_chat_keeps_the_order_of_its_sections(tmp_path: Path) -> None:
    text = FILES["prompts/talk.md"] + "## assistant\nThe door is warm.\n## user\nAnother.\n### user\n"
    template = load_template(write_recipe(tmp_path, files={"prompts/talk.md": text}) / "prompts" / "talk.md")

    assert [role for role, _ in template.messages] == ["system", "user", "assistant", "user"]
    assert template.messages[-1][1] == "Another.\n### user"


# --- seeds

SEED_FAULTS: dict[str, tuple[str, str]] = {
    "no object": ('{"text": "a"}\n["b"]\n', ":2"),
    "no JSON": ('{"text": "a"}\ntext: b\n', ":2"),
    "no text": ('{"text": "a"}\n\n{"label": "positive"}\n', ":3"),
    "an empty text": ('{"text": "  "}\n', ":1"),
    "a number": ('{"text": "a", "stars": 5}\n', ":1"),
    "a text that is a list": ('{"text": ["a"]}\n', ":1"),
    "two on one line": ('{"text": "a"} {"text": "b"}\n', ":1"),
    "nothing at all": ("\n\n", ""),
    "a key twice": ('{"text": "a", "text": "b"}\n', ":1"),
    "no number": ('{"text": "a"}\n{"text": "a", "score": NaN}\n', ":2"),
}


@pytest.mark.parametrize(("text", "line"), SEED_FAULTS.values(), ids=SEED_FAULTS)
def test_a_fault_in_a_seed_table_names_its_line(tmp_path: Path, text: str, line: str) -> None:
    folder = write_recipe(tmp_path, files={"seeds/words.jsonl": text})

    error = broken(folder)

    assert error.where == f"{folder / 'seeds' / 'words.jsonl'}{line}"
    assert '{"text": "..."' in error.fix


def test_a_mark_of_the_byte_order_changes_nothing(tmp_path: Path) -> None:
    folder = write_recipe(tmp_path)
    plain = load_recipe(folder)
    for file in ("recipe.yaml", "prompts/lines.md", "seeds/words.jsonl"):
        (folder / file).write_bytes(b"\xef\xbb\xbf" + (folder / file).read_bytes())

    assert load_recipe(folder) == plain


def test_a_seed_row_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    for row, says in (
        ('{"text": "a", "text": "b"}', "a key stands twice"),
        ('{"text": "a", "n": NaN}', "NaN is no JSON"),
    ):
        assert says in broken(write_recipe(tmp_path, files={"seeds/words.jsonl": row})).what


def test_a_seed_table_that_is_not_there_is_missed(tmp_path: Path) -> None:
    folder = write_recipe(tmp_path, files={"seeds/words.jsonl": None})

    error = broken(folder)

    assert error.where == str(folder / "seeds" / "words.jsonl")
    assert "`seeds:`" in error.fix


def test_a_seed_row_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    folder = write_recipe(tmp_path)
    (folder / "seeds" / "words.jsonl").write_bytes(b'{"text": "ok"}\n{"text": "caf\xe9"}\n')

    assert broken(folder).where.endswith("words.jsonl:2")


def test_a_seed_is_named_by_what_it_says_and_not_by_its_row(tmp_path: Path) -> None:
    turned = "\n".join(reversed(FILES["seeds/words.jsonl"].splitlines()))
    here = load_recipe(write_recipe(tmp_path)).seeds
    there = load_recipe(write_recipe(tmp_path, files={"seeds/words.jsonl": turned})).seeds

    assert [row.seed_id for row in here] == [row.seed_id for row in reversed(there)]
    assert len({row.seed_id for row in here}) == 6


# --- whatever a file holds, the answer is a recipe or one refusal


@pytest.mark.parametrize("file", ["recipe.yaml", *FILES])
@given(cut=st.integers(0, 2_000), junk=st.binary(max_size=8))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_is_refused_or_still_whole(tmp_path: Path, file: str, cut: int, junk: bytes) -> None:
    folder = write_recipe(tmp_path)
    data = (folder / file).read_bytes()
    (folder / file).write_bytes(data[:cut] + junk + data[cut + len(junk) :])

    found = discover(tmp_path)[0]

    assert found.dataset == "tiny"
    assert isinstance(found, Recipe) or (str(folder) in found.error.where and found.error.fix)


@pytest.mark.parametrize(
    "fault", [lambda folder: folder / "recipe.yaml", lambda folder: folder / "prompts" / "lines.md"]
)
def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path, fault: Callable[[Path], Path]) -> None:
    folder = write_recipe(tmp_path)
    fault(folder).unlink()
    fault(folder).mkdir()

    assert str(folder) in broken(folder).where


def test_a_rule_that_no_value_can_keep_is_refused(tmp_path: Path) -> None:
    impossible = {"words": {"min": 9, "max": 4, "because": "Nothing is both at once."}}

    with pytest.raises(UsageError, match="no value lies between min 9 and max 4"):
        load_recipe(write_recipe(tmp_path, rules=impossible))
