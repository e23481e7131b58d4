"""What `synth doctor` says of providers: whether their key is set and whether they answer, never the key."""

from collections.abc import Callable
from pathlib import Path

import pytest

from synth_assets.cli import checkup
from synth_assets.cli.main import main
from tests.fakes.openai_server import FakeOpenAI
from tests.fakes.recipes import write_recipe

Doctor = Callable[[], str]
SECRET = "sk-very-secret"
FILE = """\
providers:
  here: {{base_url: {here}, key: HERE_KEY, models: {{small: {{}}}}}}
  free: {{base_url: {here}, models: {{small: {{mode: completion}}}}}}
  gone: {{base_url: "http://127.0.0.1:1/v1", models: {{small: {{}}}}}}
  lost: {{base_url: {here}/elsewhere, models: {{small: {{}}}}}}
"""


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYNTH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SYNTH_RECIPES", str(tmp_path))
    for name in ("SYNTH_LLM_BASE_URL", "SYNTH_LLM_MODEL", "SYNTH_LLM_API_KEY", "HERE_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(checkup, "CHECKS", (checkup._provider, checkup._profiles))
    return tmp_path


@pytest.fixture
def doctor(recipes: Path, capsys: pytest.CaptureFixture[str]) -> Doctor:
    def said() -> str:
        with pytest.raises(SystemExit):
            main(["doctor"])
        seen = capsys.readouterr()
        return seen.out + seen.err

    return said


def test_doctor_asks_every_provider_for_its_models_and_says_whether_its_key_is_set(
    recipes: Path, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [{"model": "here/small", "fallback": ["gone/small"]}, {"model": "free/small"}]
    with FakeOpenAI() as server:
        (recipes / "providers.yaml").write_text(FILE.format(here=server.base_url))
        write_recipe(recipes, generator={"model": "embedded", "models": models})
        without = doctor()
        monkeypatch.setenv("HERE_KEY", SECRET)
        said = doctor()

    assert "problem  provider here: HERE_KEY is not set" in without
    assert f"provider here: HERE_KEY is set; it answers /models at {server.base_url}" in said
    assert "provider free: wants no key; it answers /models" in said
    assert "problem  provider gone: wants no key; Connection refused" in said
    assert "problem  provider lost: wants no key; /models answers 404" in said
    assert "provider of tiny: here/small (else gone/small), free/small" in said
    assert SECRET not in said + without


def test_a_broken_file_is_a_finding_with_its_line(recipes: Path, doctor: Doctor) -> None:
    (recipes / "providers.yaml").write_text(f"providers:\n  here:\n    key: {SECRET}\n")

    said = doctor()

    assert "providers.yaml:" in said
    assert SECRET not in said
