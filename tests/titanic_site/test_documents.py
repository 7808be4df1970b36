"""The documents build, need no other site, and agree with what they describe."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from django.conf import settings
from markdown_it import MarkdownIt

from docs import pages
from monitoring.alert_kinds import Kind

ROOT = Path(settings.BASE_DIR)
LINK = re.compile(r"\]\(([^):]+)\)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built documents: what does not lead anywhere stops the build."""
    path = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "properdocs", "build", "--quiet", "--site-dir", path]
    subprocess.run(command, cwd=ROOT, check=True)
    return path


def test_every_page_is_built(site: Path) -> None:
    sources = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}

    assert sources | {Path("settings.html")} <= {path.relative_to(site) for path in site.rglob("*.html")}


def test_no_page_makes_a_request_to_another_site(site: Path) -> None:
    pages = [path.read_text(encoding="utf-8") for path in site.rglob("*.html")]
    styles = [path.read_text(encoding="utf-8") for path in site.rglob("*.css")]

    assert len(pages) > 25
    assert styles
    loaded = [tag for page in pages for tag in re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*>", page)]
    assert [tag for tag in loaded if re.search(r"""(?:src|href)=["']?(?:https?:)?//""", tag)] == []
    assert [url for style in styles for url in re.findall(r"""url\(["']?(?:https?:)?//[^)]*""", style)] == []


def test_every_decision_is_listed(site: Path) -> None:
    index = (site / "decisions/index.html").read_text(encoding="utf-8")

    for path in (ROOT / "docs/decisions").glob("0*.md"):
        assert f'href="{path.stem}.html">{path.name[:4]}: ' in index


def test_a_default_in_the_example_is_that_of_the_settings() -> None:
    documented = {setting.name: setting.default for setting in pages.settings()}

    compared = 0
    for name, call in pages.readers().items():
        defaults = [word.value for word in call.keywords if word.arg == "default"] or call.args[1:2]
        # A pattern is no default.
        if defaults and isinstance(defaults[0], ast.Constant) and ast.unparse(call.func) != "env.matching":
            default = str(ast.literal_eval(defaults[0]))
            assert documented[name] == (default.lower() if default in ("True", "False") else default), name
            compared += 1
    assert compared > 30


def test_every_setting_is_explained() -> None:
    page = pages.settings_page()

    assert all(len(setting.text) > 8 for setting in pages.settings())
    assert "### `PORT`\n\nIts port.\n\n*a whole number, 1 to 65535; default `8000`*" in page
    assert "### `ALERT_TIME_ZONE`\n\nIn which language" in page
    assert "## For docker-compose.yml alone\n\n### `TLS_CERTIFICATE`" in page


@pytest.mark.parametrize(("page", "translated"), [("README.md", "README.es.md"), ("docs/tour.md", "docs/tour.es.md")])
def test_the_spanish_page_has_what_the_english_one_has(page: str, translated: str) -> None:
    english, spanish = (parts((ROOT / name).read_text(encoding="utf-8")) for name in (page, translated))

    assert english == spanish


def parts(text: str) -> tuple[list[str], list[str], list[str], list[str]]:
    """Return what must be the same in every language: levels of headings, pictures, commands and links."""
    tokens = MarkdownIt("js-default").parse(text)
    children = [child for token in tokens for child in token.children or ()]
    blocks = [token.content for token in tokens if token.type in ("fence", "code_block")]
    links = {str(child.attrs["href"]).replace(".es.md", ".md") for child in children if child.type == "link_open"}
    return (
        [token.tag for token in tokens if token.type == "heading_open"],
        [str(child.attrs["src"]) for child in children if child.type == "image"],
        [line.partition(" #")[0].rstrip() for block in blocks for line in block.splitlines()],
        # Each leads to the other.
        sorted(links - {"README.md", "tour.md"}),
    )


def test_readme_is_one_screen_and_leads_somewhere() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert len(readme.splitlines()) <= 60
    assert [path for path in LINK.findall(readme) if not (ROOT / path).exists()] == []


def test_readme_and_the_first_page_lead_to_every_page() -> None:
    texts = ((ROOT / path).read_text(encoding="utf-8") for path in ("README.md", "docs/index.md"))
    linked = {Path(path).name for text in texts for path in LINK.findall(text)}

    assert {path.name for path in (ROOT / "docs").glob("*.md")} - linked <= {"index.md"}


def test_each_alert_has_its_section_in_operations() -> None:
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    sections = re.findall(r"^### (.+)$", text.split("\n## Alerts\n")[1], re.MULTILINE)
    rules = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"][0]["rules"]

    assert set(Kind.labels) <= set(sections)
    assert [rule["alert"] for rule in rules if f"`{rule['alert']}`" not in text] == []
