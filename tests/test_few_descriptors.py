"""A limit of open files: a run works within it, or stops and names it, and nothing paid is lost."""

import resource
from pathlib import Path

import pytest

from tests.command import RUN, Home, tiny
from tests.fakes.chat_provider import ChatProvider


@pytest.mark.slow
def test_a_run_that_may_open_too_few_files_stops_and_names_the_limit_and_another_goes_on(tmp_path: Path) -> None:
    recipes = tiny(tmp_path, batch={"accept": 60}, generator={"concurrency": 64})
    with ChatProvider() as provider:
        home = Home(tmp_path / "home", provider.base_url, recipes)

        said = home.synth(*RUN, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)))
        asked = len(provider.requests)
        # What a shell calls the soft limit is raised, as far as the hard one allows.
        green = home.synth(*RUN, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 512)))

    assert said.code == 1, said.err
    assert "Traceback" not in said.err
    assert "ulimit -n" in said.err
    assert asked == 0, "it is known before anything is sent"
    assert green.code == 0, green.err
    assert set(provider.paid_calls.values()) == {1}
