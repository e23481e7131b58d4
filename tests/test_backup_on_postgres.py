"""The page's recipe for a home whose catalog is on a server, done as it is written there while others commit."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from resources.locks import advisory_key
from resources.places import PROJECT
from tests.command import LIMIT_S, Home
from tests.fakes.postgres import PostgresServer

PAGE = (PROJECT / "docs/backup.md").read_text(encoding="utf-8")

COMMITTING = """
import os, sys
from pathlib import Path
from resources.lake import open_lake
from tests.test_lake import commit, used
lake = open_lake(Path(os.environ["SYNTH_HOME"]))
for number in range(100_000):
    lake.commit(commit(f"k{number}", used(number, "films"), dataset="films"))
    print(number, flush=True)
"""


def recipe(number: int) -> str:
    """Return one of the two blocks of the section on Postgres, without its example of an address."""
    section = PAGE[PAGE.index("## Postgres") :]
    block = re.findall(r"^```\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)[number]
    return "\n".join(line for line in block.splitlines() if not line.startswith("export "))


def done(script: str, home: Home, programs: Path, **variables: str) -> None:
    environment = {**home.environment, **variables}
    environment["PATH"] = f"{programs}:{Path(sys.executable).parent}:{environment['PATH']}"
    # The last line is a command of the project; whether it is clean is asked for itself.
    script = script.replace("synth audit verify", "")
    subprocess.run(["bash", "-euo", "pipefail", "-c", script], env=environment, check=True, timeout=LIMIT_S)


def test_the_number_on_the_page_is_the_lock_of_the_commits() -> None:
    assert f"pg_advisory_lock({advisory_key('commit')})" in recipe(0)


@pytest.mark.slow
def test_the_recipe_of_the_page_copies_one_moment_of_a_home_on_a_server(server: PostgresServer, tmp_path: Path) -> None:
    def address(name: str) -> dict[str, str]:
        catalog = server.database(name)
        return {"SYNTH_CATALOG": catalog, "DATABASE": catalog.replace("+psycopg2", "")}

    here = Home(tmp_path / "home", variables=address("backup_from"))
    there = Home(tmp_path / "again", variables=address("backup_to"))
    variables = {**os.environ, **here.environment}
    committing = subprocess.Popen(
        [sys.executable, "-c", COMMITTING], cwd=PROJECT, env=variables, stdout=subprocess.PIPE
    )
    assert committing.stdout is not None
    committing.stdout.readline()

    done(recipe(0), here, server.programs, DIR=str(tmp_path / "b"))
    for _ in range(2):
        committing.stdout.readline()
    committing.send_signal(signal.SIGKILL)
    committing.communicate()
    done(recipe(1), there, server.programs, DIR=str(tmp_path / "b"))

    said = there.call("audit", "verify", "--json")
    assert said.code == 0, said.err
    assert said.facts[0]["entries"] > 0
