"""A version by its number: cut if it is the next one, looked at and never judged again if it was cut before."""

from pathlib import Path

from synth_assets.checks.release_gates import LOOKED_AT
from synth_assets.checks.verdict import Verdict
from synth_assets.domain.versioning import number_of
from synth_assets.errors import RefusedError
from synth_assets.stages.cutting import Said, cut_version
from synth_assets.stages.pending import head_of
from synth_assets.stages.proof import ProvenRelease, proven_release
from synth_assets.stages.work import Finished, Work
from synth_assets.vocabulary import Stage


def release(
    work: Work, releases: Path, *, reason: str, actor: str, protected: tuple[str, ...], as_judged: bool
) -> Finished:
    """Cut the version whose number is the partition key, or look at it if it was cut before.

    Looking judges nothing and stores nothing: a version is proven, whatever became of its batches or recipe.

    Args:
        work: the bench; its batch is the version's number.
        releases: folder of all releases.
        reason: what the person said; kept in the audit for ever.
        actor: who.
        protected: texts of the test and validation sets.
        as_judged: whether batches may enter by the thresholds of their time, where today's would not admit them.

    Raises:
        RefusedError: the number is neither a version nor the next one, or there is nothing to release.
        StoppedError: today's thresholds would not admit a batch that enters.
        IntegrityError: what is stored contradicts the audit, or the version is known to somebody else already.
    """
    number, head = number_of(work.batch), head_of(work.lake, work.recipe.dataset)
    if 1 <= number <= head:
        return _look(proven_release(work.lake, releases, work.recipe.dataset, number))
    if number != head + 1:
        raise RefusedError(
            f"{work.recipe.dataset} {work.batch[:40]!r} can be neither read nor cut: the latest version is v{head}",
            where=f"{work.recipe.dataset}/dataset_version",
            fix=f"`synth release {work.recipe.dataset}` cuts v{head + 1}",
        )
    return cut_version(work, releases, number, Said(reason, actor, protected, as_judged))


def _look(found: ProvenRelease) -> Finished:
    facts = {
        "version": found.released.version,
        "num_samples": found.row["num_samples"],
        "digest": found.row["digest"],
        "folder": str(found.folder),
        "was_verified": True,
    }
    verdicts = [Verdict(gate, passed=True, facts={"said": said}) for gate, said in LOOKED_AT.items()]
    return Finished(Stage.DATASET_VERSION, verdicts, found.row["digest"], facts)
