"""Translations: `python -m core.translations` brings the catalogues in step with the code.

Babel does what Django leaves to GNU gettext, so that no machine needs more than Python.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir, extract_python
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

ROOT = Path(__file__).parents[1]
PACKAGES = ("core", "features", "ingestion", "monitoring", "predictions", "templates", "titanic_site", "training")
_KEYWORDS = {
    **DEFAULT_KEYWORDS,
    "gettext_noop": None,
    "Message": None,
    **{f"{name}_lazy": DEFAULT_KEYWORDS[name] for name in ("gettext", "ngettext", "pgettext")},
}


def from_template(file: BinaryIO, keywords: Any, comment_tags: Any, options: Any) -> Iterator[Any]:
    """Extract the messages of a template, for Babel."""
    # All but the calls is filler, whose indentation means nothing.
    lines = templatize(file.read().decode()).splitlines()
    calls = "\n".join(line.strip() for line in lines).encode()
    return extract_python(io.BytesIO(calls), keywords, comment_tags, options)


def extracted() -> Catalog:
    """Collect every message of the code and the templates."""
    catalog = Catalog()
    methods = [("**.py", "python"), ("**.html", f"{__name__}:from_template"), ("**.md", f"{__name__}:from_template")]
    for package in PACKAGES:
        messages = extract_from_dir(ROOT / package, methods, keywords=_KEYWORDS, directory_filter=lambda _path: True)
        for _name, _line, message, _comments, context in messages:
            catalog.add(message, context=context)
    return catalog


def read(path: Path) -> Catalog:
    """Read a catalogue."""
    with path.open("rb") as file:
        return read_po(file, locale=path.parts[-3])


def update(path: Path) -> None:
    """Add new messages and remove unused ones."""
    catalog = read(path)
    # The dates of the header stay: an unchanged catalogue is unchanged to the byte.
    head = catalog.mime_headers
    catalog.update(extracted(), no_fuzzy_matching=True)
    catalog.mime_headers = head
    with path.open("wb") as file:
        write_po(file, catalog, width=120, sort_output=True, no_location=True, ignore_obsolete=True)


if __name__ == "__main__":
    for path in (ROOT / "locale").glob("*/LC_MESSAGES/django.po"):
        update(path)
