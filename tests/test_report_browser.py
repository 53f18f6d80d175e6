"""The report in a real browser: from disk, offline, by keyboard, for everyone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import util
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from make_run import RunTables, a_night, known, video_id

from videonovelty.known.ledger import Opinion
from videonovelty.records import NOTHING_MOVES, PART_COVERED
from videonovelty.report.decided import Decided
from videonovelty.report.decisions import read_decisions
from videonovelty.report.html import Pictures, write_report
from videonovelty.settings import ReportSettings

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--no-first-run",
]
ROWS = "#queue-rows tr.row"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@dataclass
class Opened:
    """A page, and what it said and asked for while it was open."""

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def names(self) -> list[str]:
        return self.page.locator(f"{ROWS} .name").all_inner_texts()

    def current(self) -> str:
        return " ".join(self.page.locator("tr[aria-current=true] .name").all_inner_texts())

    def shown(self) -> int:
        return int(self.page.locator("#shown").inner_text().split(" ")[0].replace(",", ""))

    def lists(self, *names: str) -> None:
        """Wait until the rows drawn are these."""
        becomes(self.page, self.names, list(names))

    def stands_at(self, name: str) -> None:
        """Wait until this row is the current one, and its details are shown."""
        becomes(self.page, self.current, name)
        becomes(self.page, lambda: self.page.locator("#detail-title").inner_text(), name)


def becomes(page: Any, read: Callable[[], Any], wanted: Any) -> None:
    """Wait until `read` gives `wanted`, or a value `wanted` accepts: what follows an action may come a frame later."""
    accepts = wanted if callable(wanted) else lambda value: value == wanted
    for _ in range(1200):
        value = read()
        if accepts(value):
            return
        page.wait_for_timeout(25)
    pytest.fail(f"stayed {value!r}" + ("" if callable(wanted) else f", not {wanted!r}"))


def until(page: Any, condition: str) -> None:
    """Wait for a condition; playwright's own wait needs eval, which the page's policy forbids."""
    becomes(page, lambda: bool(page.evaluate(condition)), True)


def says(page: Any, selector: str, text: str) -> None:
    """Wait until an element holds a text."""
    becomes(page, lambda: page.locator(selector).inner_text(), lambda found: text in found)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(a_night().write(tmp_path_factory.mktemp("night") / "run"), ReportSettings())


@pytest.fixture
def opened(browser: Any) -> Callable[..., Any]:
    """Open a page; leaving the block checks that it asked for nothing but its own files and complained of nothing."""

    @contextmanager
    def use(path: Path, fragment: str = "", *, before: str = "", **context: Any) -> Iterator[Opened]:
        made = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, "offline": True, **context})
        made.set_default_timeout(60_000)
        page = made.new_page()
        seen = Opened(page)
        page.on("console", lambda message: seen.said.append(message.text))
        page.on("pageerror", lambda error: seen.said.append(str(error)))
        page.on("request", lambda request: seen.asked.append(request.url))
        if before:
            page.add_init_script(before)
        page.goto(path.as_uri() + fragment)
        yield seen
        assert seen.said == []
        others = [url for url in seen.asked if not url.startswith((path.parent.as_uri(), "blob:null/", "blob:file:"))]
        assert others == []
        made.close()

    return use


def test_the_page_opens_from_disk_and_asks_for_nothing(opened: Any, night: Path) -> None:
    with opened(night) as seen:
        assert seen.names()[:3] == ["other-take-searched.mp4", "spliced-searched.mp4", "other-take-safe.mp4"]
        assert seen.shown() == 31
        assert "23 min 7 s" in seen.page.locator(".headline").inner_text()
        assert seen.page.locator("#detail-title").inner_text() == "other-take-searched.mp4"
        assert len(seen.asked) == 1


def test_hostile_names_are_shown_and_never_run(opened: Any, night: Path) -> None:
    with opened(night, "#q=hostile") as seen:
        seen.page.on("dialog", lambda _: pytest.fail("a dialog was opened"))
        seen.page.fill("#f-q", "")
        until(seen.page, "document.getElementById('shown').textContent.startsWith('31 of')")
        names = seen.names()
        assert "<img src=x onerror=alert(1)>.mp4" in names
        assert "new\\x0aline\\x09tab\\x1b[31mred.mp4" in names
        seen.page.locator(".name").first.click()
        for name in names[1:]:
            seen.page.keyboard.press("j")
            seen.stands_at(name)
        assert seen.page.title() == "Novelty report · 2026-11-22-night"
        assert seen.page.locator("img, iframe, object, embed").count() == 0


def test_each_filter_shows_what_it_says(opened: Any, night: Path) -> None:
    searched, safe = "other-take-searched.mp4", "other-take-safe.mp4"
    cases: list[tuple[dict[str, str], set[str]]] = [
        ({"verdict": "partly_known"}, {"spliced-searched.mp4", "inside-frame.mp4", "edited-mix.mp4"}),
        ({"verdict": "known"}, {"cleared-bytes.mp4", "cleared-reencode.mp4"}),
        ({"list": "NSRL films"}, {"edited-mix.mp4"}),
        ({"reason": "wall_limit"}, {"bad-1.mp4"}),
        ({"length": "300-1800"}, {"new-long.mp4"}),
        ({"length": "0-10"}, {"blink.mp4"}),
        ({"disposition": "abuse", "verdict": "same_scene"}, {searched, safe}),
        ({"show": "all", "verdict": "same_scene", "length": "10-60"}, {searched, safe}),
    ]
    with opened(night) as seen:
        for choose, names in cases:
            for name, value in choose.items():
                seen.page.select_option(f"#f-{name}", value)
            becomes(seen.page, lambda: (set(seen.names()), seen.shown()), (names, len(names)))
            until(seen.page, f"document.getElementById('said').textContent.startsWith('{len(names)} video')")
            seen.page.click("#f-clear")
        becomes(seen.page, seen.shown, 31)


def test_search_finds_names_ids_and_series_also_of_grouped_videos(opened: Any, night: Path) -> None:
    cases = {
        "blue room": ["other-take-searched.mp4", "spliced-searched.mp4"],
        "RENAMED": ["renamed.mp4"],
        "long copy-2": ["new-long.mp4"],  # found under the row that stands for it
        video_id("black")[:10]: ["black.mp4"],
        "nothing has this name": [],
    }
    with opened(night) as seen:
        for text, names in cases.items():
            seen.page.keyboard.press("/")
            seen.page.keyboard.press("Control+a")
            seen.page.keyboard.type(text)
            seen.lists(*names)
            seen.page.keyboard.press("Escape")


def test_a_key_pressed_right_after_searching_is_about_what_the_search_found(opened: Any, night: Path) -> None:
    # nothing here waits: the search box takes a moment before it filters, and a decision must not fall in between
    with opened(night) as seen:
        for key in ("/", *"renamed", "Escape", "1"):
            seen.page.keyboard.press(key)
        seen.lists("renamed.mp4")
        says(seen.page, "tr[aria-current=true] .c-decision", "Novel")
        seen.page.keyboard.press("/")
        seen.page.keyboard.type("x")
        seen.page.click("#f-clear")
        until(
            seen.page, "new Promise(done => setTimeout(() => done(document.getElementById('f-q').value === ''), 300))"
        )
        assert seen.shown() == 31
        seen.page.select_option("#f-decision", "made")
        seen.lists("renamed.mp4")


def test_sorting_by_a_heading_is_announced_and_turns_round(opened: Any, night: Path) -> None:
    with opened(night, "#verdict=novel") as seen:
        heading = seen.page.locator("thead th.c-view")
        heading.get_by_role("button").click()
        becomes(seen.page, lambda: heading.get_attribute("aria-sort"), "ascending")
        becomes(seen.page, lambda: seen.names()[0], "renamed.mp4")
        heading.get_by_role("button").click()
        becomes(seen.page, lambda: heading.get_attribute("aria-sort"), "descending")
        becomes(seen.page, lambda: seen.names()[0], "new-long.mp4")
        seen.page.select_option("#f-sort", "name 0")
        seen.page.fill("#f-q", "2026-11-22")
        seen.lists("new-long.mp4", "renamed.mp4")
        becomes(seen.page, lambda: seen.page.locator("thead th.c-name").get_attribute("aria-sort"), "ascending")


def test_a_night_is_triaged_by_keyboard_and_handed_over(opened: Any, night: Path, tmp_path: Path) -> None:
    with opened(night) as seen:
        press = seen.page.keyboard.press
        for key in ("3", "1", "j", "k", "4", "j", "5", "u"):
            press(key)
        # 3 → first, 1 → second, j k, 4 → third, j skips new-long, 5 → renamed, taken back by u
        seen.stands_at("renamed.mp4")
        press("n")
        until(seen.page, "document.activeElement.id === 'note'")
        seen.page.keyboard.type("same voice as yesterday, 1 2 3")
        press("Escape")
        press("2")
        says(seen.page, "#export", "Export 4 decisions")
        seen.page.fill("#analyst", "")
        seen.page.click("#export")
        until(seen.page, "document.getElementById('analyst').validity.customError")
        seen.page.fill("#analyst", "A. Person")
        with seen.page.expect_download() as download:
            seen.page.click("#export")
        download.value.save_as(tmp_path / "decisions.jsonl")
        assert download.value.suggested_filename == "decisions-2026-11-22-night-A._Person.jsonl"
        decisions = read_decisions(tmp_path / "decisions.jsonl")
        assert [(d.video_id, d.decision) for d in decisions] == [
            (video_id("other-take-searched"), "same_scene"),
            (video_id("spliced-searched"), "novel"),
            (video_id("other-take-safe"), "not_a_match"),
            (video_id("new-short"), "known"),
        ]
        assert decisions[3].note == "same voice as yesterday, 1 2 3"
        assert {(d.run_id, d.snapshot, d.analyst) for d in decisions} == {("2026-11-22-night", 42, "A. Person")}
        assert decisions[0].known_video_id == video_id("blue-1")
        says(seen.page, "#progress", "4 of 31 decided")
        assert "/intake" not in (tmp_path / "decisions.jsonl").read_text()


def test_a_decision_on_a_group_says_what_it_stands_for(opened: Any, night: Path, tmp_path: Path) -> None:
    with opened(night, f"#at={video_id('new-long')}") as seen:
        seen.page.keyboard.press("1")
        says(seen.page, "#export", "Export 1 decision")
        seen.page.keyboard.press("k")  # the decision went on to the next row
        seen.stands_at("new-long.mp4")
        seen.page.select_option("#material", "benign")
        seen.page.fill("#note", "a cartoon")
        seen.page.fill("#analyst", "B")
        with seen.page.expect_download() as download:
            seen.page.click("#export")
        download.value.save_as(tmp_path / "d.jsonl")
        (decision,) = read_decisions(tmp_path / "d.jsonl")
        assert (decision.decision, decision.disposition, decision.note) == ("novel", "benign", "a cartoon")
        assert set(decision.stands_for) == {video_id(f"new-long-copy-{n}") for n in range(3)}


def test_decisions_survive_closing_the_page(opened: Any, night: Path, browser: Any) -> None:
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto(night.as_uri())
    page.keyboard.press("1")
    says(page, "#export", "Export 1 decision")
    page.close()
    page = context.new_page()
    page.goto(night.as_uri())
    says(page, "#export", "Export 1 decision")
    says(page, "#kept", "not exported")
    context.close()


def test_without_storage_decisions_live_in_the_page_and_it_says_so(opened: Any, night: Path) -> None:
    block = "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no', 'SecurityError'); }})"
    with opened(night, before=block) as seen:
        seen.page.keyboard.press("1")
        says(seen.page, "#progress", "1 of 31 decided")
        says(seen.page, "#kept", "keeps nothing")


def test_a_file_without_an_id_can_only_be_put_aside_for_a_second_look(opened: Any, night: Path, tmp_path: Path) -> None:
    with opened(night, "#reason=io_error") as seen:
        seen.page.keyboard.press("1")
        says(seen.page, "#said", "second look")
        becomes(seen.page, seen.page.locator(".decide button:enabled").all_inner_texts, ["5\nSecond look"])
        seen.page.keyboard.press("5")
        says(seen.page, "#export", "Export 1 decision")
        seen.page.fill("#analyst", "A")
        with seen.page.expect_download() as download:
            seen.page.click("#export")
        download.value.save_as(tmp_path / "d.jsonl")
        (decision,) = read_decisions(tmp_path / "d.jsonl")
        assert decision.video_id == ""
        assert decision.entry.startswith("file-")


def test_back_and_forward_go_through_filters_and_details(opened: Any, night: Path) -> None:
    with opened(night) as seen:
        seen.page.select_option("#f-verdict", "novel")
        seen.page.select_option("#f-length", "300-1800")
        seen.lists("new-long.mp4")
        seen.page.keyboard.press("Escape")
        seen.page.locator(".name").first.click()
        until(seen.page, "location.hash.includes('open=1')")
        seen.page.go_back()
        until(seen.page, "!location.hash.includes('open=1')")
        seen.page.go_back()
        until(seen.page, "document.getElementById('f-length').value === ''")
        becomes(seen.page, seen.page.locator("#f-verdict").input_value, "novel")
        seen.page.go_forward()
        until(seen.page, "document.getElementById('f-length').value === '300-1800'")
        seen.lists("new-long.mp4")


def test_an_address_brings_back_the_same_view(opened: Any, night: Path) -> None:
    at = video_id("edited-mix")
    with opened(night, f"#q=mix&verdict=partly_known&sort=view&down=1&at={at}&open=1") as seen:
        assert seen.names() == ["edited-mix.mp4"]
        assert seen.page.locator("#f-q").input_value() == "mix"
        assert seen.page.locator("thead th.c-view").get_attribute("aria-sort") == "descending"
    with opened(night, "#sort=constructor&at=__proto__&verdict=toString") as seen:
        assert seen.shown() == 31
    with opened(night, "#verdict=%3Cscript%3E&list=nosuch&sort=__proto__&at=zzz&length=x") as seen:
        assert seen.page.locator("#shown").inner_text() != ""


def test_a_videos_details_say_where_its_seconds_come_from(opened: Any, night: Path) -> None:
    with opened(night, f"#at={video_id('edited-mix')}") as seen:
        text = seen.page.locator("#detail").inner_text()
        for expected in (
            *("1:13 to view of 2:00", "0:31.0–0:52.0", "in no known video", "could not be decoded", "58.4 %"),
            *("its 1:40.0–2:16.3", "at 1.25× speed", "mirrored", "fills 62 % of the picture", "41 matching points"),
            *("proof: movement agrees in time", "NSRL films", "pdq+sift-1"),
            *(video_id("edited-mix"), "/intake/2026-11-22/edited-mix.mp4"),
        ):
            assert expected in text, expected
        widths = seen.page.evaluate("[...document.querySelectorAll('.bar > div')].map(d => parseFloat(d.style.left))")
        assert widths == pytest.approx([0, 2 / 1.2, 31 / 1.2, 52 / 1.2, 70 / 1.2, 75 / 1.2], abs=0.01)
        kinds = seen.page.evaluate(
            "[...document.querySelectorAll('.bar > div')].map(d => getComputedStyle(d).backgroundImage)"
        )
        assert len({kinds[0], kinds[1], kinds[2], kinds[4]}) == 4  # told apart by pattern, not only by colour


def test_copying_gives_the_true_path_and_times(opened: Any, night: Path) -> None:
    with opened(night, f"#at={video_id('edited-mix')}", permissions=["clipboard-read", "clipboard-write"]) as seen:
        seen.page.get_by_role("button", name="Copy times to view").click()
        until(seen.page, "document.getElementById('said').textContent.includes('Copied')")
        copied = "navigator.clipboard.readText()"
        assert seen.page.evaluate(copied) == "0:00.0-0:02.0\n0:31.0-0:52.0\n1:10.0-1:15.0\n1:15.0-2:00.0"
        seen.page.fill("#f-q", "not-utf8")
        until(seen.page, "document.getElementById('detail-title').innerText.startsWith('not-utf8')")
        seen.page.get_by_role("button", name="Copy exact path for a shell").click()
        until(seen.page, "document.getElementById('said').textContent.includes('exact path')")
        assert seen.page.evaluate("navigator.clipboard.readText()") == "$'/intake/not-utf8-\\xff\\xfe.mp4'"


def test_known_footage_inside_a_larger_picture_is_among_the_times_to_view(opened: Any, night: Path) -> None:
    with opened(night, f"#at={video_id('inside-frame')}", permissions=["clipboard-read", "clipboard-write"]) as seen:
        seen.page.get_by_role("button", name="Copy times to view").click()
        until(seen.page, "document.getElementById('said').textContent.includes('Copied')")
        assert seen.page.evaluate("navigator.clipboard.readText()") == "0:00.0-0:50.0\n0:50.0-0:55.0"
        assert "known in part of the picture" in seen.page.locator("#detail").inner_text()
        assert "null" not in seen.page.locator("#detail").inner_text()


def test_another_reviewers_file_shows_where_they_differ(opened: Any, night: Path, tmp_path: Path) -> None:
    def line(name: str, decision: str, **facts: Any) -> str:
        made = {"run_id": "2026-11-22-night", "decision": decision, "note": "<b>look</b>", "analyst": "Other", **facts}
        ids = {"video_id": video_id(name), "entry": video_id(name)}
        return json.dumps({"format": "videonovelty-decisions", "format_version": 1, **ids, **made})

    lines = [line("other-take-searched", "known"), line("new-long", "novel"), line("x", "novel", run_id="else")]
    (tmp_path / "other.jsonl").write_text("\n".join(lines))
    with opened(night) as seen:
        seen.page.keyboard.press("3")
        seen.page.set_input_files("#load", tmp_path / "other.jsonl")
        until(seen.page, "document.getElementById('kept').textContent.includes('judged differently')")
        says(
            seen.page,
            "#kept",
            "2 decisions of 1 other reviewer shown; 1 video is judged differently. 1 were of another run.",
        )
        seen.page.select_option("#f-decision", "differs")
        seen.lists("other-take-searched.mp4")
        says(seen.page, "#detail", "Other: Known – <b>look</b>")
        (tmp_path / "bad.jsonl").write_text("<html>")
        seen.page.set_input_files("#load", tmp_path / "bad.jsonl")
        until(seen.page, "document.getElementById('kept').textContent.includes('not a file of decisions')")


def test_a_verdicts_count_opens_the_videos_behind_it(opened: Any, night: Path) -> None:
    with opened(night) as seen:
        seen.page.locator("button[data-verdict=known]").click()
        becomes(seen.page, lambda: sorted(seen.names()), ["cleared-bytes.mp4", "cleared-reencode.mp4"])
        seen.page.locator("button[data-reason=corrupt]").click()
        seen.lists("bad-0.mp4")


def axe(page: Any) -> list[tuple[str, list[str]]]:
    """Return the violations of axe-core: (rule, targets)."""
    import axe_core_python

    page.evaluate((Path(axe_core_python.__file__).parent / "axe.min.js").read_text("utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [(v["id"], [str(n["target"]) for n in v["nodes"]]) for v in found["violations"]]


@pytest.mark.parametrize(
    ("colours", "width", "fragment"),
    [
        ("light", 1440, f"#at={video_id('edited-mix')}"),
        ("dark", 1440, f"#at={video_id('new-long')}"),
        ("light", 390, ""),
        ("dark", 390, f"#at={video_id('edited-mix')}&open=1"),
        ("light", 720, ""),  # as 1440 at 200 %
    ],
)
def test_axe_finds_nothing(opened: Any, night: Path, colours: str, width: int, fragment: str) -> None:
    pytest.importorskip("axe_core_python", reason="axe-core-python is not installed")
    view = {
        "viewport": {"width": width, "height": 900},
        "color_scheme": colours,
        "bypass_csp": True,
        "reduced_motion": "reduce",
    }
    with opened(night, fragment, **view) as seen:
        seen.page.keyboard.press("1")
        says(seen.page, "#export", "Export 1 decision")
        assert axe(seen.page) == []
        if not fragment:
            seen.page.keyboard.press("?")
            seen.page.wait_for_selector("#help", state="visible")
            assert axe(seen.page) == []


@pytest.mark.parametrize(("width", "height"), [(390, 844), (640, 400), (320, 640), (1024, 768)])
def test_a_narrow_window_or_a_zoomed_page_scrolls_one_way_only(
    opened: Any, night: Path, width: int, height: int
) -> None:
    with opened(night, viewport={"width": width, "height": height}) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        seen.page.locator(".name").first.click()
        seen.page.wait_for_selector("#detail-title", state="visible")
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        until(seen.page, "document.activeElement.id === 'detail-title'")
        seen.page.keyboard.press("Escape")
        until(seen.page, "document.activeElement.className === 'name'")
        if width < 960:
            seen.page.wait_for_selector("#detail", state="hidden")
            seen.page.keyboard.press("Enter")
            until(seen.page, "document.querySelector('.list-pane').inert")


def test_targets_are_large_enough_to_hit(opened: Any, night: Path) -> None:
    with opened(night, f"#at={video_id('new-long')}&open=1") as seen:
        small = seen.page.evaluate(
            """[...document.querySelectorAll('button, select, input, summary')].filter(e => e.offsetParent)
            .filter(e => { const b = e.getBoundingClientRect(); return b.width < 24 || b.height < 23.9; })
            .map(e => e.outerHTML.slice(0, 90))"""
        )
        assert small == []


def test_focus_is_visible_and_stays_with_the_current_row_while_scrolling(opened: Any, night: Path) -> None:
    with opened(night) as seen:
        seen.page.locator(".name").first.focus()
        for _ in range(25):
            seen.page.keyboard.press("ArrowDown")
        stands = "document.querySelector('tr[aria-current=true]')?.getAttribute('aria-rowindex')"
        becomes(seen.page, lambda: seen.page.evaluate(stands), "27")
        until(seen.page, "document.activeElement.closest('tr')?.getAttribute('aria-current') === 'true'")
        box = seen.page.locator("tr[aria-current=true]").bounding_box()
        pane = seen.page.locator("#scroller").bounding_box()
        assert pane["y"] <= box["y"]
        assert box["y"] + box["height"] <= pane["y"] + pane["height"] + 1
        assert seen.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_single_keys_can_be_switched_off(opened: Any, night: Path) -> None:
    with opened(night) as seen:
        seen.page.click("#help-open")
        seen.page.uncheck("#keys-on")
        seen.page.click("#help-close")
        seen.page.keyboard.press("1")
        seen.page.keyboard.press("/")  # nor this one: the next goes nowhere
        seen.page.click("#theme")  # answered after the keys, so they had their turn
        says(seen.page, "#theme", "Colours: light")
        assert seen.page.locator("#progress").is_hidden()
        assert seen.page.evaluate("document.activeElement.id") != "f-q"


def test_decisions_of_the_store_are_shown_counted_and_filtered(opened: Any, tmp_path: Path) -> None:
    def said(analyst: str, decision: str, note: str = "") -> Opinion:
        return Opinion(analyst, decision, None, "", note, "2026-11-24T08:00:00Z", "another run")

    run = a_night().write(tmp_path / "run", settings={"review": {"reviewers": 2}})
    decided = Decided(
        51,
        {
            video_id("other-take-searched"): (said("Anna", "same_scene"), said("Bert", "same_scene", "same lamp")),
            video_id("other-take-safe"): (said("Anna", "not_a_match"), said("Bert", "same_scene")),
            video_id("new-short"): (said("<b>Anna</b>", "novel"),),
        },
    )
    with opened(write_report(run, ReportSettings(), decided=decided), bypass_csp=True) as seen:
        says(seen.page, "#progress", "2 of 31 decided")
        cells = {name: seen.page.locator(f"{ROWS}:nth-child({n}) .c-decision").inner_text() for n, name in (
            (2, "searched"), (4, "safe"))}  # fmt: skip
        assert cells == {"searched": "Same scene\nAnna, Bert", "safe": "Not a match\nreviewers differ"}
        says(seen.page, "#detail", "In the store: Bert: Same scene 2026-11-24 08:00 – same lamp")
        if util.find_spec("axe_core_python"):
            assert axe(seen.page) == []
        for value, names in {
            "differs": ["other-take-safe.mp4"],
            "made": ["other-take-searched.mp4", "other-take-safe.mp4", "renamed.mp4"],
            "novel": ["renamed.mp4"],
        }.items():
            seen.page.select_option("#f-decision", value)
            seen.lists(*names)
        says(seen.page, "#detail", "1 more reviewer has to look at it")
        says(seen.page, "#detail", "<b>Anna</b>")
        seen.page.keyboard.press("Escape")
        seen.page.fill("#analyst", "Carla")
        seen.page.select_option("#f-decision", "")
        seen.page.locator(".name", has_text="other-take-searched").click()
        seen.page.keyboard.press("4")
        says(seen.page, f"{ROWS}:nth-child(2) .c-decision", "reviewers differ")
        says(seen.page, "#progress", "1 of 31 decided")
        seen.page.set_viewport_size({"width": 390, "height": 844})
        until(seen.page, "getComputedStyle(document.querySelector('.c-decision')).display === 'none'")
        seen.page.click(".back")
        says(seen.page, f"{ROWS}:nth-child(2) .c-name", "reviewers differ")


def test_the_colours_can_be_chosen_and_stay(opened: Any, night: Path) -> None:
    with opened(night, color_scheme="light") as seen:
        background = "getComputedStyle(document.body).backgroundColor"
        light = seen.page.evaluate(background)
        seen.page.click("#theme")
        seen.page.click("#theme")
        says(seen.page, "#theme", "Colours: dark")
        becomes(seen.page, lambda: seen.page.evaluate(background), lambda found: found != light)
        seen.page.reload()
        becomes(seen.page, lambda: seen.page.locator("html").get_attribute("data-theme"), "dark")


def test_the_summary_prints_on_one_page_and_names_no_file(opened: Any, night: Path, tmp_path: Path) -> None:
    with opened(night) as seen:
        data = seen.page.pdf(format="A4", prefer_css_page_size=True)
        assert data.count(b"/Type /Page\n") + data.count(b"/Type /Page ") == 1
        seen.page.emulate_media(media="print")
        until(seen.page, "!document.body.innerText.includes('other-take')")


def test_without_script_the_glance_is_still_there(browser: Any, night: Path) -> None:
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(night.as_uri())
    text = page.locator("body").inner_text()
    assert "23 min 7 s" in text
    assert "verdicts.csv" in text
    assert not page.locator("#workspace").is_visible()
    context.close()


def test_pictures_are_revealed_one_at_a_time_and_hidden_on_leaving(opened: Any, tmp_path: Path) -> None:
    t = RunTables()
    for name in ("a", "b"):
        t.add(name, "novel", "nothing_explained", [(0, 10, "novel")])
    run = t.write(tmp_path / "run")
    (run / "report" / "pictures").mkdir(parents=True)
    files = {video_id(n): [(k, f"pictures/{video_id(n)}-{k}.png") for k in (1.0, 5.5)] for n in ("a", "b")}
    for _, name in (one for some in files.values() for one in some):
        (run / "report" / name).write_bytes(cv2.imencode(".png", np.full((54, 96), 90, np.uint8))[1].tobytes())
    path = write_report(run, ReportSettings(), pictures=Pictures("blurred", files))
    with opened(path) as seen:
        assert len(seen.asked) == 1
        assert seen.page.locator("img").count() == 0
        buttons = seen.page.locator(".reveal button")
        buttons.nth(0).click()
        until(seen.page, "document.querySelector('#picture img')?.naturalWidth === 96")
        buttons.nth(1).click()
        becomes(seen.page, lambda: [b.get_attribute("aria-pressed") for b in buttons.all()], ["false", "true"])
        becomes(seen.page, seen.page.locator("img").count, 1)
        assert "0:05.5" in seen.page.locator("#picture img").get_attribute("alt")
        assert "protects nobody" in seen.page.locator("#detail").inner_text()
        seen.page.evaluate("window.dispatchEvent(new Event('blur'))")
        becomes(seen.page, seen.page.locator("img").count, 0)
        buttons.nth(0).click()
        becomes(seen.page, seen.page.locator("img").count, 1)
        seen.page.locator(".name").nth(1).click()
        becomes(seen.page, seen.page.locator("img").count, 0)


def test_what_covers_known_footage_is_drawn_where_it_lies_with_the_one_picture_to_look_at(
    opened: Any, tmp_path: Path
) -> None:
    t = RunTables()
    box = {"cover_left": 0.5, "cover_top": 0.0, "cover_right": 0.75, "cover_bottom": 0.5}
    sticker = known("k", 0, 20, proof="none", why_not=PART_COVERED, **box, look_seconds=10.0)
    inset = known("k", 20, 30, proof="none", why_not=PART_COVERED, **box)
    t.add("a", "same_scene", "not_proven", [(0, 20, "same_scene", sticker), (20, 30, "same_scene", inset)])
    with opened(write_report(t.write(tmp_path / "run"), ReportSettings())) as seen:
        seen.stands_at("a.mp4")
        text = seen.page.locator("#detail").inner_text()
        assert "0:12.0 to view of 0:30.0" in text
        assert "One picture to look at: 0:10.0." in text
        assert "Something is over this part: look there first." in text
        frames = seen.page.locator(".cover .frame")
        assert [f.get_attribute("aria-label") for f in frames.all()] == [
            "The part that is covered: upper right, 13 % of the picture"
        ] * 2
        frame, part = frames.first.bounding_box(), frames.first.locator("i").bounding_box()
        assert abs((part["x"] - frame["x"]) / frame["width"] - 0.5) < 0.05
        assert abs(part["width"] / frame["width"] - 0.25) < 0.05
        # a third of the way along the timeline, in the middle of the sticker's stretch
        bar, mark = (seen.page.locator(one).bounding_box() for one in (".bar", ".bar > .look"))
        assert abs((mark["x"] - bar["x"]) / bar["width"] - 1 / 3) < 0.02
        assert seen.page.locator(".bar > .look").count() == 1


def test_the_one_picture_of_what_does_not_move_is_named_without_a_box(opened: Any, tmp_path: Path) -> None:
    t = RunTables()
    t.add("a", "same_scene", "not_proven", [
        (0, 20, "same_scene", known("k", 0, 20, proof="none", why_not=NOTHING_MOVES, look_seconds=10.0))])  # fmt: skip
    with opened(write_report(t.write(tmp_path / "run"), ReportSettings())) as seen:
        seen.stands_at("a.mp4")
        text = seen.page.locator("#detail").inner_text()
        assert "0:02.0 to view of 0:20.0" in text
        assert "One picture to look at: 0:10.0. Nothing moves in this stretch." in text
        assert seen.page.locator(".cover .frame").count() == 0
        assert seen.page.locator(".bar > .look").count() == 1


def test_thousands_of_rows_draw_only_those_on_screen(opened: Any, tmp_path: Path) -> None:
    t = RunTables()
    for n in range(3000):
        t.add(f"v{n:04d}", "novel", "nothing_explained", [(0, 10 + n / 10, "novel")])
    path = write_report(t.write(tmp_path / "run"), ReportSettings())
    with opened(path) as seen:
        assert seen.shown() == 3000
        assert seen.page.locator(ROWS).count() < 80
        seen.page.keyboard.press("G")
        becomes(seen.page, seen.current, "v2999.mp4")
        becomes(seen.page, seen.page.locator(ROWS).count, lambda rows: 0 < rows < 80)
        seen.page.keyboard.press("g")
        becomes(seen.page, seen.current, "v0000.mp4")
        seen.page.locator("#scroller").evaluate("e => { e.scrollTop = e.scrollHeight / 2; }")
        until(seen.page, "document.querySelector('#queue-rows').innerText.includes('v1500')")


def test_details_beside_the_page_are_loaded_when_opened(opened: Any, tmp_path: Path) -> None:
    t = RunTables()
    for n in range(450):
        stretches = [(i, i + 1, "known", known("k", i, i + 1)) for i in range(20)]
        t.add(f"v{n:04d}", "partly_known", "parts_explained", stretches)
    path = write_report(t.write(tmp_path / "run"), ReportSettings(max_single_file_bytes=1_000_000))
    assert len(list(path.parent.glob("details-*.js"))) == 3
    with opened(path) as seen:
        seen.page.wait_for_selector(".why li")
        becomes(seen.page, lambda: len(seen.asked), 2)
        seen.page.keyboard.press("G")
        becomes(seen.page, lambda: len(seen.asked), 3)
        until(seen.page, "document.querySelector('tr[aria-current=true]').nextElementSibling.hidden")
        seen.stands_at(seen.current())
        says(seen.page, ".why", "proven footage")
