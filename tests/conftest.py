"""What every test may ask for: the option that rewrites snapshots, and a SYNTH_HOME of its own."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import settings

from resources.lake import open_lake
from tests.disks import mounted
from tests.fakes.postgres import PostgresServer

settings.register_profile("unhurried", deadline=None)  # no example is timed: the machine may be busy
settings.load_profile("unhurried")

OPTION = "--regenerate-snapshots"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(OPTION, action="store_true", help="write tests/snapshots/*.json anew instead of comparing")


@pytest.fixture(scope="session")
def is_regenerating(pytestconfig: pytest.Config) -> bool:
    return bool(pytestconfig.getoption(OPTION))


@pytest.fixture(scope="session")
def new_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with an empty lake; making one takes most of a second, copying it next to nothing."""
    home = tmp_path_factory.mktemp("new") / "home"
    open_lake(home, {}).close()
    return home


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Path], Path]:
    """Copies a home nobody has open into the test's own folder."""

    def copy(home: Path) -> Path:
        return Path(shutil.copytree(home, tmp_path / "home"))

    return copy


@pytest.fixture
def home(new_home: Path, copy_of: Callable[[Path], Path]) -> Path:
    return copy_of(new_home)


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    """A PostgreSQL server; a test that stops it starts it again."""
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def database(server: PostgresServer) -> str:
    """Address of an empty database on the server."""
    return server.database(f"db{uuid4().hex}")


@pytest.fixture(scope="session")
def new_catalog(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name of a database with an empty lake; copying it is quicker than making one."""
    lake = open_lake(tmp_path_factory.mktemp("new"), {"SYNTH_CATALOG": server.database("new")})
    lake._connection.execute("DELETE FROM lake.homes")  # whoever opens a copy first makes it their own
    lake.close()
    return "new"


@pytest.fixture
def catalog(server: PostgresServer, new_catalog: str) -> str:
    """Address of a database with an empty lake."""
    return server.database(f"db{uuid4().hex}", like=new_catalog)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system in memory of no size yet."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=1m") as folder:
        yield folder
