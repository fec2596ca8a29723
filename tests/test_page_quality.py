"""What holds for every page: it reaches nothing outside, text is never markup, everybody can use it."""

import base64
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from browser import CHROMIUM, Page, browser
from page_facts import contrast, faults
from reports_synthetic import Entry, showcase, write_run

from harness.results import read_run, write_sweep
from reports.frame.load import load
from reports.render.formats import FORMATS, write
from reports.report import build, with_page
from reports.site.command import build as build_site

needs_browser = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
KINDS = ("report", "methods", "categories", "index", "board", "method", "run", "changes")
HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=alert(1)>\"'&</style>-->]]>{{7*7}}ü\u202e"
)
_ROOT = Path(__file__).parent.parent
AXE = next(
    (
        path
        for given in (os.environ.get("LADDER_AXE"), _ROOT / "node_modules/axe-core/axe.min.js")
        if given and (path := Path(given)).is_file()
    ),
    None,
)


def pages_of(folder: Path, entries: list[Entry], **config: object) -> dict[str, Path]:
    """Kind of page -> one of it, over two runs of those methods."""
    run = write_run(folder / "few", entries, images=6)
    found = read_run(run)
    write_sweep(
        run, {**found.config, **config}, {}, {e.name: {"title": e.name, "uses": ["text"]} for e in entries}
    )
    frame = load([run])
    write(folder / "report", FORMATS["html"](with_page(build(frame), frame)))
    of_report = {name: sorted((folder / "report" / name).iterdir())[0] for name in ("methods", "categories")}
    site = folder / "site"
    build_site([run], site)
    more = [*(replace(e, seeds=(7,)) for e in entries), Entry(f"{entries[0].name} more", 0.9)]
    other = write_run(folder / "more", more)
    write_sweep(other, {**read_run(other).config, **config})
    build_site([run, other], site)
    ones = {kind: sorted((site / f"{kind}s").iterdir())[0] for kind in ("board", "method", "run")}
    more = {"index": site / "index.html", "changes": site / "changes.html"}
    return {"report": folder / "report/report.html", **more, **of_report, **ones}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return pages_of(tmp_path_factory.mktemp("pages"), showcase())


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages of runs in which everything that can be named is named to do harm."""

    def fate(category: str, shots: int | None, seed: int | None) -> dict[str, object]:
        told = {"reason": HOSTILE, "error_type": HOSTILE, "traceback": HOSTILE, "host": HOSTILE}
        return {"status": "failed", **told} if seed == 1 else {"host": HOSTILE, "git_commit": HOSTILE}

    entries = [
        Entry(
            HOSTILE + name,
            0.8,
            {"p": HOSTILE + value},
            (1, 4),
            marks=(HOSTILE,),
            weights=((HOSTILE, "ab"),),
            fate=fate,
        )
        for name, value in (("a", ""), ("a", "b"), ("c", ""))
    ]
    return pages_of(tmp_path_factory.mktemp("hostile"), entries, name=HOSTILE, protocol=HOSTILE)


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if not CHROMIUM:
        pytest.skip("needs Chromium")
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_runs_only_what_its_policy_knows_by_hash(pages: dict[str, Path], kind: str):
    text = pages[kind].read_text(encoding="utf-8")
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]+)">', text)
    assert text.index("Content-Security-Policy") < text.index("<style")
    assert "default-src 'none'" in policy
    assert "script-src 'unsafe-inline'" not in policy
    found = [re.findall(rf"<{element}>(.*?)</{element}>", text, re.DOTALL) for element in ("style", "script")]
    assert len(found[0]) == 1
    assert found[1] or "script-src 'none'" in policy
    for inside in (inside for some in found for inside in some):
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert not re.search(r"<[a-z]+[^>]*\son[a-z]+=", text)
    assert not re.search(r'src="(?:https?:)?//', text)


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_can_be_heard_and_typed(pages: dict[str, Path], kind: str):
    assert faults(pages[kind].read_text(encoding="utf-8")) == []


def test_the_facts_that_are_looked_at_can_be_missed():
    bad = (
        "<html><main><h1>a</h1><h3 id=x>b</h3><img src=a>"
        "<table><tr><th>c</th></tr></table><p id=x></p></main></html>"
    )
    told = " ".join(faults(bad))
    for fault in (
        "not one nav",
        "no language",
        "h3 after h1",
        "id x twice",
        "has no name",
        "0 captions",
        "scope",
    ):
        assert fault in told
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # known as just too little


@pytest.mark.parametrize("kind", KINDS)
def test_text_of_a_run_is_never_markup(hostile: dict[str, Path], pages: dict[str, Path], kind: str):
    def tags(page: Path) -> set[str]:
        bare = re.sub(r"<script.*?</script>|<style>.*?</style>", "", page.read_text("utf-8"), flags=re.S)
        return set(re.findall(r"<(\w+)", bare))

    text = hostile[kind].read_text(encoding="utf-8")
    assert tags(hostile[kind]) <= tags(pages[kind]) | {
        "sup",
        "details",
        "summary",
        "pre",
        "aside",
        "ul",
        "li",
        "p",
        "a",
        "small",
    }
    assert text.count("<script") == pages[kind].read_text("utf-8").count("<script")
    assert "&lt;" in text
    assert "<img src=x" not in text
    assert "49" not in re.findall(r"\]\]&gt;(..)", text)


@needs_browser
@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_page_does_no_harm(tab: Page, hostile: dict[str, Path], kind: str):
    tab.complaints.clear()
    tab.requests.clear()
    tab.open(hostile[kind])
    if kind == "report":
        tab.choose("#trial-status", "failed")
        tab.click("#trial-table tbody button")
        assert HOSTILE in tab.run("document.querySelector('.card').textContent")
    assert tab.run("document.title") != "owned"
    assert tab.run("document.querySelectorAll('img[src=x]').length") == 0
    assert [r for r in tab.requests if not r.startswith(("file:", "data:", "about:"))] == []
    assert tab.complaints == []


@needs_browser
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_asks_for_nothing_and_breaks_no_rule_of_its_own(tab: Page, pages: dict[str, Path], kind: str):
    tab.complaints.clear()
    tab.requests.clear()
    tab.open(pages[kind])
    assert tab.run("document.styleSheets.length") == 1
    assert [r for r in tab.requests if not r.startswith(("file:", "data:", "about:"))] == []
    assert tab.complaints == []
    for markup, rule in (
        ('<img src="https://a.b/c">', "img-src"),
        ('<p id="p" onclick="1">', "script-src-attr"),
        ("<style>p { color: red }</style>", "style-src-elem"),
    ):
        assert tab.run(_violation(markup)) == rule
    tab.complaints.clear()


def _violation(markup: str) -> str:
    """A script that says which rule stops that markup."""
    return (
        "new Promise((done) => { addEventListener('securitypolicyviolation',"
        " (e) => done(e.violatedDirective), { once: true });"
        f" document.body.insertAdjacentHTML('beforeend', {json.dumps(markup)});"
        " document.querySelector('#p')?.click(); })"
    )


@needs_browser
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_fits_a_phone_and_shows_where_the_keys_are(tab: Page, pages: dict[str, Path], kind: str):
    tab.open(pages[kind], width=390, height=844, dark=True)
    assert tab.run("document.documentElement.scrollWidth") <= 390
    seen = set()
    for _ in range(8):
        tab.press("Tab")
        seen.add(
            tab.run("document.activeElement.tagName + getComputedStyle(document.activeElement).outlineStyle")
        )
    assert "Asolid" in seen
    assert {one for one in seen if one.endswith("none")} <= {"BODYnone"}  # beyond the last link


@needs_browser
@pytest.mark.skipif(AXE is None, reason="needs axe-core (npm install axe-core, or LADDER_AXE=axe.min.js)")
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_axe_finds_no_serious_fault(tab: Page, pages: dict[str, Path], kind: str, dark: bool):
    tab.open(pages[kind], dark=dark)
    assert AXE is not None
    tab.run(AXE.read_text(encoding="utf-8") + "; 0")
    found = tab.run(
        "axe.run(document, { resultTypes: ['violations'] }).then((r) => r.violations"
        ".filter((v) => ['serious', 'critical'].includes(v.impact))"
        ".map((v) => `${v.id}: ${v.nodes.map((n) => n.html).slice(0, 3).join(' | ')}`))"
    )
    assert found == []
