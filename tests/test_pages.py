"""The pages a newcomer opens first, in a headless Chromium: what stands on them can be read."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from synth_assets.jobs import BATCH_ASSETS
from tests.command import BATCH, DATASET, Home, tiny
from tests.fakes.chat_provider import ChatProvider
from tests.web import Web, web_ui

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no `chromium` on the PATH: apt-get install chromium"),
]

RED = "2026-11-02"
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
PATIENCE_MS = 60_000
"""Longest wait for a text; it is reached only by a failing test."""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A server whose dataset has a green batch and a red one."""
    folder = tmp_path_factory.mktemp("pages")
    with ChatProvider() as provider:
        home = Home(folder / "home", provider.base_url, tiny(folder))
        assert home.call("run", DATASET, "--batch", BATCH).code == 0
        provider.repeats = 0.95
        assert home.call("run", DATASET, "--batch", RED).code == 1
    with web_ui(home, folder / "log") as served:
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser, web: Web) -> Iterator[Page]:
    """A page that reaches nothing but the server."""
    opened = browser.new_page(base_url=web.address, viewport={"width": 1600, "height": 1000})
    opened.route(lambda url: not url.startswith(web.address), lambda route: route.abort())
    yield opened
    opened.close()


def sees(page: Page, path: str, *texts: str) -> None:
    page.goto(path, wait_until="commit")
    for text in texts:
        expect(page.get_by_text(text).first).to_be_visible(timeout=PATIENCE_MS)


def test_the_lineage_page_shows_the_way_from_templates_to_the_model(page: Page) -> None:
    sees(page, f"/locations/synth_assets/asset-groups/{DATASET}/list", *BATCH_ASSETS, "dataset_version", "model_run")
    sees(page, "/asset-groups/", "Global asset lineage", DATASET, "marts")


def test_the_first_page_of_an_asset_says_what_it_is_and_what_to_do_next(page: Page) -> None:
    sees(page, f"/assets/{DATASET}/curated?view=overview", "One decision per sample", "Next:", "quality_score")


def test_a_red_partition_says_so_and_its_check_shows_rule_and_counts_without_a_click(page: Page) -> None:
    sees(
        page, f"/assets/{DATASET}/curated?view=partitions&partition={RED}", "failed, and did not materialize this asset"
    )
    sees(
        page,
        f"/assets/{DATASET}/curated?view=checks&checkDetail=acceptance_share",
        *("Failed", RED, "min 0.3: Less means that the prompt is broken.", "rejected_exact_duplicate"),
    )


def test_numbers_of_an_asset_are_plotted_by_partition(page: Page) -> None:
    sees(page, f"/assets/{DATASET}/scored?view=overview", "Plots")
    page.get_by_text("Plots", exact=True).first.click()

    expect(page.get_by_text("mean_words").first).to_be_visible(timeout=PATIENCE_MS)
    expect(page.locator("canvas").first).to_be_visible(timeout=PATIENCE_MS)


def test_the_automation_page_lists_every_sensor_and_schedule(page: Page) -> None:
    names = (
        f"{DATASET}_schedule",
        "regeneration",
        "release",
        "template_change",
        "inbox",
        "run_failure",
        "marts",
    )
    sees(page, "/automation", *names)
