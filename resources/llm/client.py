"""The generator: one client for every model, behind the journal.

It joins the parts: what was paid before (`ledger`, `resources.journal`), one stay at the endpoint (`run`), what is sent
and how often (`schedule`, `limits`), one try (`wire`, `transport`), what a reply means (`answers`) and where requests
go (`provider`, `embedded`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from resources.journal import Journal
from resources.llm import provider as providers
from resources.llm.bulk import FIRST_POLL_S, BulkRun
from resources.llm.embedded import IDLE_S, SLOTS, EmbeddedServer
from resources.llm.interrupts import interruptible, run_async
from resources.llm.ledger import Ledger
from resources.llm.limits import Patience
from resources.llm.pace import Pace
from resources.llm.provider import Address
from resources.llm.run import Endpoint, Run
from resources.llm.submissions import Submissions
from resources.llm.weights import MODEL_NAME, model_file, model_sha256
from synth_assets.domain.ports import Call, Endings, NotRecordedError, Provider
from synth_assets.errors import UsageError
from synth_assets.recipe.model import Generator as Settings


class OpenAIGenerator:
    """A model that speaks the OpenAI protocol; the `Generator` of the domain.

    Args:
        provider: what it is called and how it is spoken to.
        endpoint: where it is.
        patience: limits of tries, time and calls in flight.
        home: SYNTH_HOME.
        poll_s: first wait for a file of calls, in seconds; None sends calls one by one instead.
        is_replay: whether answers come from the journal alone.
    """

    def __init__(
        self,
        provider: Provider,
        endpoint: Endpoint,
        *,
        patience: Patience,
        home: Path,
        poll_s: float | None = None,
        is_replay: bool = False,
    ) -> None:
        self._poll_s = poll_s
        self._provider = provider
        self._endpoint = endpoint
        self._patience = patience
        self._pace = Pace()  # a limit found in one call of `generate` is known in the next
        self._home = home
        self.is_replay = is_replay

    @property
    def provider(self) -> Provider:
        """Which endpoint and model it is."""
        return self._provider

    def generate(
        self,
        calls: Sequence[Call],
        *,
        dataset: str,
        batch: str,
        spend_limit_usd: float | None,
        progress: Callable[[int, int], None],
    ) -> Endings:
        """End every call: from the journal if it was paid before, over the network otherwise.

        Provider faults never raise: they become endings or a `Stop`. A first SIGINT or SIGTERM is a stop as well; a
        second one has its usual effect.

        Args:
            calls: what to send, in plan order.
            dataset: names the journal's folder.
            batch: names the journal's folder.
            spend_limit_usd: money left for these calls; None without a budget.
            progress: called with (ended, total) now and then.

        Raises:
            IntegrityError: the journal contradicts itself.
            NotRecordedError: this is a replay, and the journal knows nothing of a call.
        """
        self.rehearse(calls, dataset=dataset, batch=batch)
        journal = Journal.open(self._home, dataset, batch)
        ledger = Ledger(calls, journal, progress)
        run = self._run(ledger, journal, Submissions(self._home, dataset, batch))
        try:
            if ledger.open_rows:
                with interruptible(run.interrupt):
                    run_async(lambda: run.work(spend_limit_usd))
            stop = ledger.conclude(run.stop, where=run.where)
        finally:
            journal.close()
            self._endpoint.close()
        return ledger.endings(stop, paid_now=run.paid_now)

    def rehearse(self, calls: Sequence[Call], *, dataset: str, batch: str) -> None:
        """See to it that a replay can end every call; anything else can, so nothing is looked at.

        Raises:
            IntegrityError: the journal contradicts itself.
            NotRecordedError: the journal knows nothing of a call; it is the first in plan order.
        """
        if not self.is_replay:
            return
        journal = Journal.open(self._home, dataset, batch)
        missing = next((call for call in calls if journal.get(call.call_id) is None), None)
        if missing is not None:
            raise NotRecordedError(missing.request_id)

    def _run(self, ledger: Ledger, journal: Journal, submissions: Submissions) -> Run | BulkRun:
        given = {"provider": self._provider, "endpoint": self._endpoint, "patience": self._patience}
        if self._poll_s is None:
            return Run(ledger, journal, pace=self._pace, **given)
        return BulkRun(ledger, journal, submissions, first_poll_s=self._poll_s, **given)

    def close(self) -> None:
        """Let go of the endpoint; the embedded server ends by itself once nobody needs it."""
        self._endpoint.close()


class Remote:
    """An endpoint somebody else runs: there is nothing to start and nothing to mend."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def open(self) -> Address:
        """Return the configured address."""
        return self._address

    def mend(self) -> Address:
        """Return the same address: whether it is worth another try is the schedule's question."""
        return self._address

    def close(self) -> None:
        """Do nothing."""


def make_generator(
    settings: Settings, *, home: Path, environ: Mapping[str, str], idle_s: float = IDLE_S
) -> OpenAIGenerator:
    """Return the generator a recipe and the environment mean.

    Args:
        settings: the recipe's `generator`.
        home: SYNTH_HOME; holds the journal and the embedded server's runtime files.
        environ: SYNTH_LLM_BASE_URL, _API_KEY and _MODEL override the recipe; SYNTH_LLM_MODE says whether anybody is
            asked at all; SYNTH_ASSETS_DATA finds the weights.
        idle_s: how long the embedded server outlives its last client, in seconds.

    Raises:
        UsageError: settings and environment name no endpoint, no model or no mode.
        SynthError: the embedded model is not installed.
    """
    patience = Patience(settings.concurrency, settings.deadline_s, settings.max_tries)
    is_replay = providers.is_replay(environ)
    if not providers.is_embedded(settings, environ):
        provider, address = providers.remote(settings, environ)
        poll_s = FIRST_POLL_S if settings.dispatch == "batch" else None
        return OpenAIGenerator(
            provider, Remote(address), patience=patience, home=home, poll_s=poll_s, is_replay=is_replay
        )
    if settings.dispatch == "batch":
        raise UsageError(
            "the embedded model takes no batch files",
            where="generator.dispatch in recipe.yaml",
            fix=f"set `dispatch: online`, or {providers.BASE_URL} to a provider that has a batch endpoint",
        )
    path = model_file(environ)
    sha256 = model_sha256(path, home)
    provider = providers.embedded(settings, model=MODEL_NAME, model_sha256=sha256)
    server = EmbeddedServer(home, path, sha256, idle_s=idle_s)
    patience = replace(patience, concurrency=SLOTS)
    return OpenAIGenerator(provider, server, patience=patience, home=home, is_replay=is_replay)
