"""What holds for every page: it reaches nothing outside, and text of a run is never markup."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Page, browser
from reports_synthetic import showcase, write_run

from reports.frame.load import load
from reports.render.html import render
from reports.report import build, with_page

needs_browser = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name -> a page of that kind."""
    folder = tmp_path_factory.mktemp("pages")
    frame = load([write_run(folder / "few", showcase(), images=6)])
    report = folder / "report.html"
    report.write_text(render(with_page(build(frame), frame)), encoding="utf-8")
    return {"report": report}


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if not CHROMIUM:
        pytest.skip("needs Chromium")
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


KINDS = ("report",)


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_runs_only_what_its_policy_knows_by_hash(pages: dict[str, Path], kind: str):
    text = pages[kind].read_text(encoding="utf-8")
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]+)">', text)
    assert text.index("Content-Security-Policy") < text.index("<style")
    assert "default-src 'none'" in policy
    assert "script-src 'unsafe-inline'" not in policy
    for element in ("style", "script"):
        for inside in re.findall(rf"<{element}>(.*?)</{element}>", text, re.DOTALL):
            digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy
    assert not re.search(r"<[a-z]+[^>]*\son[a-z]+=", text)
    assert not re.search(r'src="(?:https?:)?//', text)


@needs_browser
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_asks_for_nothing_and_breaks_no_rule_of_its_own(tab: Page, pages: dict[str, Path], kind: str):
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
