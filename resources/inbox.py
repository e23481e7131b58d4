"""What lies in the inbox: files and folders other tools dropped, and whether each looks complete."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from resources.drops import content_sha256
from synth_assets.canonical import sha256

UNFINISHED = (".part", ".partial", ".tmp", ".crdownload", ".swp")
PARQUET_END = b"PAR1"
READ_AT_ONCE = 1024**3
"""Bytes that one look reads to know what drops hold; a look that takes a minute is ended by the daemon."""


@dataclass(frozen=True)
class Arrival:
    """A file or folder in the inbox.

    Attributes:
        dataset: the folder it lies under.
        kind: ``samples`` or ``seeds``.
        name: the generator of samples, or the table of seeds.
        path: where it lies.
        signature: sizes and times of its files; another one means that somebody is still writing.
        num_bytes: size of all its files.
        is_whole: whether every file ends as its format ends.
    """

    dataset: str
    kind: str
    name: str
    path: Path
    signature: str
    num_bytes: int
    is_whole: bool


def arrivals(inbox: Path, dataset: str) -> Iterator[Arrival]:
    """Yield what was dropped for a dataset, sorted by path.

    Samples lie in ``<dataset>/samples/<generator>/``, as files or as the output folder of a tool; seeds are
    ``<dataset>/seeds/<table>.jsonl``. Hidden files and such as end in `UNFINISHED` are somebody's work in progress.
    """
    for generator in _inside(inbox / dataset / "samples"):
        for path in _inside(generator) if generator.is_dir() else []:
            yield _arrival(dataset, "samples", generator.name, path)
    for path in _inside(inbox / dataset / "seeds"):
        if path.is_file():
            yield _arrival(dataset, "seeds", path.stem, path)


def strays(inbox: Path, datasets: Collection[str]) -> list[str]:
    """Return the names of what lies in the inbox under no dataset's name, and so is never taken in."""
    return [path.name for path in _inside(inbox) if path.name not in datasets]


def _inside(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in sorted(folder.iterdir()) if _is_shown(path)]


def _is_shown(path: Path) -> bool:
    return not path.name.startswith(".") and path.suffix not in UNFINISHED


def _arrival(dataset: str, kind: str, name: str, path: Path) -> Arrival:
    files = [path] if path.is_file() else [each for each in sorted(path.rglob("*")) if each.is_file()]
    states = [(each, each.stat()) for each in files]
    signature = "|".join(f"{each.name}:{state.st_size}:{state.st_mtime_ns}" for each, state in states)
    is_whole = bool(files) and all(_is_shown(each) and _ends_well(each, state.st_size) for each, state in states)
    num_bytes = sum(state.st_size for _, state in states)
    return Arrival(dataset, kind, name, path, sha256(signature.encode()), num_bytes, is_whole)


def contents(drops: Iterable[Arrival], before: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, str]]:
    """Return what drops hold: signature and hash of the bytes by path, of as many as one look may read.

    Args:
        drops: what lies still; the rest of it is read at the next look, and one drop at least at each.
        before: what this returned at the look before; a drop in the same state is not read again.
    """
    found: dict[str, tuple[str, str]] = {}
    left = READ_AT_ONCE
    for each in drops:
        signature, known = before.get(str(each.path), ("", ""))
        if signature != each.signature:
            if left < READ_AT_ONCE and each.num_bytes > left:
                continue
            left -= each.num_bytes
            known = content_sha256(each.path)
        found[str(each.path)] = (each.signature, known)
    return found


def _ends_well(file: Path, size: int) -> bool:
    """Whether a file ends as its format ends; formats that do not say are taken at their word."""
    if size == 0:
        return False
    with file.open("rb") as data:
        data.seek(max(0, size - len(PARQUET_END)))
        end = data.read()
    if file.suffix == ".parquet":
        return end == PARQUET_END
    return file.suffix != ".jsonl" or end.endswith(b"\n")
