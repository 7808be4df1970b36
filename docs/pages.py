"""Write the pages that are made of other files: the settings, and the list of decisions."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from properdocs.config.defaults import MkDocsConfig
from properdocs.structure.files import File, Files
from properdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]

_SETTINGS = """
# Settings

Settings are environment variables; what the environment lacks is read from the file `.env` beside `manage.py`. A wrong
one stops the start with a sentence that says how to correct it. An empty one is the default. Any setting `NAME` may
stand in a file instead, as secrets do: `NAME_FILE` is its path, and goes before `NAME`. This page is made of
`.env.example` and `titanic_site/settings.py`.

## Of every installation
"""
#: What the readers of titanic_site/env.py take.
_KINDS = {
    "words": "words with commas",
    "flag": "true or false",
    "rate": "a number, a slash and s, m, h or d, or off",
    "origins": "addresses with http:// or https://, with commas",
    "addresses": "mail addresses with commas",
    "networks": "addresses and networks with commas",
    "time_zone": "the name of a time zone",
    "url": "an address",
}


@dataclass(frozen=True)
class Setting:
    """One entry of .env.example."""

    name: str
    default: str
    text: str
    heading: str


def settings() -> Iterator[Setting]:
    """Read .env.example: comments, then the names that they explain; a line apart is a heading."""
    heading = ""
    for paragraph in (ROOT / ".env.example").read_text(encoding="utf-8").split("\n\n")[1:]:
        if "=" not in paragraph:
            heading = paragraph.strip("# \n")
            continue
        text = ""
        is_explained = True
        for line in paragraph.splitlines():
            if name := re.fullmatch(r"#([A-Z_]+)=(.*)", line):
                yield Setting(name[1], name[2], text, heading)
                is_explained = True
            else:
                text = line.strip("# ") if is_explained else f"{text} {line.strip('# ')}"
                is_explained = False


def readers() -> dict[str, ast.Call]:
    """Return the call of `titanic_site.env` that reads each setting."""
    tree = ast.parse((ROOT / "titanic_site/settings.py").read_text(encoding="utf-8"))
    return {
        call.args[0].value: call
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and ast.unparse(call.func.value) == "env"
        and call.args
        and isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[0].value, str)
    }


def takes(call: ast.Call | None) -> str:
    """Say in words what a reader takes."""
    if call is None:
        return "text"
    reader = ast.unparse(call.func).removeprefix("env.")
    options = {word.arg: ast.unparse(word.value).replace("_", "") for word in call.keywords}
    if reader == "number":
        # The limits may be written as products.
        most = eval(options["most"], {"__builtins__": {}})  # noqa: S307 - our own source
        return f"a whole number, {options.get('least', '1')} to {most}"
    if reader == "one_of" and all(isinstance(option, ast.Constant) for option in call.args[1:]):
        return " or ".join(f"`{ast.literal_eval(option)}`" for option in call.args[1:])
    return _KINDS.get(reader, "text")


def settings_page() -> str:
    """Return the page of all settings, a section for each."""
    page, heading = _SETTINGS.lstrip(), ""
    calls = readers()
    for setting in settings():
        if setting.heading != heading:
            heading = setting.heading
            page += f"\n## {heading}\n"
        default = f"default `{setting.default}`" if setting.default else "no default"
        page += f"\n### `{setting.name}`\n\n{setting.text}\n\n"
        page += f"*{takes(calls.get(setting.name))}; {default}*\n".replace("*`", "* `")
    return page


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the settings to the pages."""
    files.append(File.generated(config, "settings.md", content=settings_page()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put a line for each decision on the page that lists them."""
    if page.file.src_uri != "decisions/index.md":
        return markdown
    for path in sorted((ROOT / "docs/decisions").glob("[0-9]*.md")):
        title = path.read_text(encoding="utf-8").split("\n", 1)[0].lstrip("# ")
        markdown += f"\n- [{title}]({path.name})"
    return markdown
