"""results/index.html in a real browser: what a reader finds, and that nothing is asked of the network."""

import re
import shutil
from dataclasses import replace
from html import escape
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from experiments.harness import catalogue, ledger, style
from experiments.harness.claim import INCONCLUSIVE, NOT_RUN, REFUTED, REPRODUCED, VERDICTS, Verdict
from experiments.harness.ledger import Entry
from experiments.harness.page import page
from experiments.harness.result import Result

NASTY = "<script>alert(1)</script> & \"quotes\" 'n' $total"
EXPERIMENT = "csil/fabricated"
RECORD = {
    "command": "python -m experiments experiment=csil/fabricated scale=laptop 'seeds=[0,1]' # <b>&",
    "departures": {"steps": {"paper": 1000000, "laptop": 20000}, "seeds": {"paper": [*range(30)], "laptop": [0, 1]}},
    "wall_seconds": 754.0,
    "peak_memory_mb": 338,
    "versions": {"torch": "2.13.0+cpu", "numpy": "2.4.6"},
    "commit": "37f2eb16b693e638478ed5a2212c823e4bf64e73",
    "dirty": True,
    "carried": [{"since": "1" * 40, "commit": "2" * 40, "command": "python -m experiments steps=20 # <b>"}],
    "device": "Processor <X>, 2 cores",
    "threads": 1,
    "seeds": [0, 1],
}
OPEN, REFUSED = "csil.fabricated", "csil.fabricated-refuted"


def fabricated(folder: Path) -> tuple[list[Entry], dict[str, Result]]:
    """The real claims without results, and three fabricated ones of which two share a result with a figure."""
    figure, axes = style.panels(1, 1)
    axes[0].plot([0, 1], [0, 1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in style.rendered(figure).items():
        (folder / name).write_bytes(content)
    measured = Verdict(REPRODUCED, 0.51, 0.42, 0.6, note=f"Note {NASTY}")
    entry = Entry("csil", OPEN, "Watson", f"Fig. {NASTY}", NASTY, 0.5, measured, "laptop", EXPERIMENT)
    exact = Verdict(REFUTED, 2.0, 2.0, 2.0)
    rows = [
        *ledger.entries({}),
        entry,
        replace(entry, id=REFUSED, statement="A plain statement.", printed="H < 2", verdict=exact),
        replace(entry, id="csil.other", statement="Another.", verdict=Verdict(INCONCLUSIVE), experiment=""),
    ]
    return rows, {EXPERIMENT: Result(EXPERIMENT, "laptop", folder, pd.DataFrame(), RECORD)}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The page as a file, and its entries."""
    root = tmp_path_factory.mktemp("results")
    rows, measured = fabricated(root / EXPERIMENT / "laptop")
    path = root / "index.html"
    path.write_text(page(rows, measured), encoding="utf-8")
    return path, rows


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """One headless browser for the module, with a profile of its own."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("chromium or chromedriver is not installed: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    quiet = "no-first-run disable-background-networking disable-component-update disable-sync disable-quic disable-gpu"
    profile = f"user-data-dir={tmp_path_factory.mktemp('profile')}"
    for argument in ("headless=new", "no-sandbox", "window-size=1280,1000", profile, *quiet.split()):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    yield browser
    browser.quit()


@pytest.fixture
def opened(chromium, built):
    """Opens the page afresh at a URL hash; afterwards nothing may stand in the browser's console."""

    def open_at(hash: str = ""):
        chromium.get("about:blank")
        chromium.get(built[0].as_uri() + hash)
        return chromium

    yield open_at
    assert chromium.get_log("browser") == []


def shown(browser) -> set[str]:
    return {claim.get_attribute("id") for claim in browser.find_elements(By.CSS_SELECTOR, "main details")
            if claim.is_displayed()}  # fmt: skip


def with_verdict(rows: list[Entry], *verdicts: str) -> set[str]:
    return {entry.id for entry in rows if entry.verdict.verdict in verdicts}


def button(browser, verdict: str):
    return browser.find_element(By.CSS_SELECTOR, f'button[data-verdict="{verdict}"]')


def claim(browser, id: str):
    return browser.find_element(By.ID, id)


def image(browser, id: str):
    """The figure of an opened claim, once it has loaded."""
    figure = WebDriverWait(browser, 10).until(lambda b: claim(b, id).find_elements(By.TAG_NAME, "img"))[0]
    WebDriverWait(browser, 10).until(lambda b: b.execute_script("return arguments[0].naturalWidth > 0", figure))
    return figure


def test_every_claim_is_there_by_paper(opened, built):
    browser = opened()
    assert shown(browser) == {entry.id for entry in built[1]}
    sections = browser.find_elements(By.TAG_NAME, "section")
    assert [section.get_attribute("id") for section in sections] == list(catalogue.SOURCES)
    for section, name in zip(sections, catalogue.SOURCES, strict=True):
        document, own = catalogue.source(name), [entry for entry in built[1] if entry.folder == name]
        assert document.title in section.text
        assert f"{document.citation}. {len(own)} claims" in section.text


def test_filters_show_their_verdicts_alone_and_together(opened, built):
    rows, browser = built[1], opened()
    for verdict in VERDICTS:
        assert button(browser, verdict).find_element(By.TAG_NAME, "small").text == str(len(with_verdict(rows, verdict)))
    button(browser, NOT_RUN).click()
    assert button(browser, NOT_RUN).get_attribute("aria-pressed") == "true"
    assert shown(browser) == with_verdict(rows, NOT_RUN)
    button(browser, REFUTED).click()
    assert shown(browser) == with_verdict(rows, NOT_RUN, REFUTED)
    expected = f"{len(with_verdict(rows, NOT_RUN, REFUTED))} of {len(rows)} claims shown"
    assert browser.find_element(By.ID, "shown").text == expected
    button(browser, NOT_RUN).click()
    assert shown(browser) == {REFUSED}
    assert not browser.find_element(By.ID, "critique").is_displayed(), "a document without a match gives no heading"
    button(browser, REFUTED).click()
    assert len(shown(browser)) == len(rows)


def test_an_opened_claim_shows_all_that_is_known(opened):
    browser = opened()
    claim(browser, OPEN).find_element(By.TAG_NAME, "summary").send_keys(Keys.ENTER)
    image(browser, OPEN)
    text = claim(browser, OPEN).text
    departures = ["steps 1000000 20000", "seeds 0, 1, 2, …, 29 (30 values) 0, 1"]
    provenance = ["12.6 min", "338 MB", "numpy 2.4.6, torch 2.13.0+cpu", "37f2eb16b693", "with uncommitted changes"]
    provenance += [
        "to 222222222222, whose code",
        "of 111111111111 in a run cut short: .venv/bin/python -m experiments steps=20 # <b>",
    ]
    numbers = [REPRODUCED, "0.5", "0.51", "0.42 to 0.6"]
    for part in [NASTY, f"Fig. {NASTY}", f"Note {NASTY}", RECORD["command"], RECORD["device"]]:
        assert part in text
    for part in [*numbers, *departures, *provenance]:
        assert part in text
    links = [link.get_attribute("href") for link in claim(browser, OPEN).find_elements(By.TAG_NAME, "a")]
    assert [link.partition(EXPERIMENT)[2] for link in links] == ["/laptop/metrics.csv", "/laptop/run.json"]


def test_the_command_is_copied_or_left_selected(opened):
    browser = opened(f"#claim={OPEN}")
    copy = claim(browser, OPEN).find_element(By.CLASS_NAME, "copy")
    copy.click()
    WebDriverWait(browser, 10).until(lambda b: copy.text in ("copied", "selected"))
    if copy.text == "selected":
        assert browser.execute_script("return getSelection().toString()") == RECORD["command"]


def test_the_address_restores_filter_search_and_open_claim(opened, built):
    browser = opened()
    button(browser, REFUTED).click()
    button(browser, NOT_RUN).click()
    browser.find_element(By.ID, "search").send_keys("plain statement")
    claim(browser, REFUSED).find_element(By.TAG_NAME, "summary").click()
    image(browser, REFUSED)
    WebDriverWait(browser, 10).until(lambda b: "claim=" in b.current_url)
    restored = opened("#" + browser.current_url.partition("#")[2])
    assert shown(restored) == {REFUSED}
    pressed = {verdict for verdict in VERDICTS if button(restored, verdict).get_attribute("aria-pressed") == "true"}
    assert pressed == {REFUTED, NOT_RUN}
    assert claim(restored, REFUSED).get_attribute("open") is not None
    image(restored, REFUSED)


def test_a_plain_anchor_opens_its_claim(opened, built):
    browser = opened(f"#{OPEN}")
    image(browser, OPEN)
    assert len(shown(browser)) == len(built[1])


def test_search_finds_words_anywhere_in_a_claim(opened):
    browser = opened()
    search = browser.find_element(By.ID, "search")
    search.send_keys("QUOTES note")
    assert shown(browser) == {OPEN}
    search.send_keys(" nowhere")
    assert shown(browser) == set()
    assert browser.find_element(By.ID, "shown").text.startswith("0 of ")


def test_nothing_is_asked_of_the_network(opened, built):
    browser = opened(f"#{OPEN}")
    image(browser, OPEN)
    asked = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in asked if name.startswith("http")] == []
    assert not re.search(r"(src|href|url)\s*[=(]\s*[\"']?\s*(https?:)?//", built[0].read_text(encoding="utf-8"))


def test_no_text_of_a_claim_becomes_markup(tmp_path):
    text = page(*fabricated(tmp_path))
    assert "alert(1)" in text
    assert "<script>alert" not in text
    assert "<b>&" not in text


def test_the_figure_is_stored_once_in_its_smaller_form(tmp_path):
    rows, measured = fabricated(tmp_path)
    assert page(rows, measured).count(";base64,") == 1
    kinds = {"svg": "image/svg+xml", "png": "image/png"}
    smaller = min(kinds, key=lambda kind: (tmp_path / f"figure.{kind}").stat().st_size)
    assert f"data:{kinds[smaller]};base64," in page(rows, measured)


def test_same_inputs_same_text_wherever_they_lie(tmp_path):
    first, second = (page(*fabricated(tmp_path / name)) for name in ("here", "there"))
    assert first == second
    assert str(tmp_path) not in first


def test_a_result_without_a_figure_has_none(tmp_path):
    rows, measured = fabricated(tmp_path)
    for picture in tmp_path.glob("figure.*"):
        picture.unlink()
    assert "<figure" not in page(rows, measured)


def test_a_scale_of_the_paper_departs_in_nothing(tmp_path):
    rows, measured = fabricated(tmp_path)
    same = replace(measured[EXPERIMENT], record=RECORD | {"departures": {}})
    assert "departures from the paper: none" in page(rows, {EXPERIMENT: same})


def test_an_interval_is_drawn_against_a_printed_number_only(tmp_path):
    rows, measured = fabricated(tmp_path)
    by_id = {entry.id: entry for entry in rows}
    assert 'M8.0 12H292.0"/><circle cx="150.0"' in page([by_id[OPEN]], measured).replace("\n", "")
    assert "<svg" not in page([by_id[REFUSED]], measured)
    assert "<dt>Interval<dd>no spread" in page([by_id[REFUSED]], measured)


def test_the_shards_of_a_sweep_are_linked_one_by_one(tmp_path):
    rows, measured = fabricated(tmp_path)
    ((name, one),) = measured.items()
    measured = {name: replace(one, shards=tuple(one.folder / "shards" / part for part in ("seeds=0", "seeds=1")))}
    links = re.findall(r'href="csil/fabricated/laptop/([^"]*)"', page(rows, measured))
    assert links[:2] == ["shards/seeds%3D0/metrics.csv", "shards/seeds%3D1/metrics.csv"]


def test_only_a_claim_with_an_experiment_says_how_to_run_it():
    undecided = Entry("gap", "gap.other", "Ta", "Fig. 1", "A statement.", None, Verdict(NOT_RUN))
    assert "python -m experiments" not in page([undecided], {})
    decidable = replace(undecided, experiment="critique/gradient_sign")
    assert ".venv/bin/python -m experiments experiment=critique/gradient_sign scale=laptop<" in page([decidable], {})


def test_a_table_of_an_experiment_stands_once_and_as_plain_text(tmp_path, monkeypatch):
    rows, measured = fabricated(tmp_path / EXPERIMENT / "laptop")

    def table(frame):
        """What was found."""
        return pd.DataFrame({"place": [NASTY], "value": [frame.shape[0]]})

    claims = [SimpleNamespace(id=OPEN), SimpleNamespace(id=REFUSED)]
    module = SimpleNamespace(CLAIMS=claims, table=table, figure=None)
    real = catalogue.module
    monkeypatch.setattr(catalogue, "module", lambda name: module if name == EXPERIMENT else real(name))
    found = [*catalogue.experiments(), EXPERIMENT]
    monkeypatch.setattr(catalogue, "experiments", lambda: found)
    monkeypatch.setattr(Result, "is_stale", False)
    text = page(rows, measured)
    expected = f"<caption>What was found.</caption><tr><th>place<th>value<tr><td>{escape(NASTY)}<td>0</table>"
    assert text.count(expected) == 1
    monkeypatch.setattr(Result, "is_stale", True)
    assert expected not in page(rows, measured)
