"""Every page of a used installation in Spanish: no line of it is in English, be it stored, composed or never marked."""

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import pytest
from django.test import Client

from core import translations
from ingestion.models import Dataset
from tests.used_installation import LEFT_OUT, use
from tests.users import make_user
from training.models import ModelVersion

#: Words that Spanish has not, and hardly a name.
ENGLISH = re.compile(
    r"\b(the|of|is|are|was|and|or|with|from|for|this|that|not|has|have|at|by|to|it|its)\b", re.IGNORECASE
)
PLACEHOLDER = re.compile(r"%\(\w+\)[\d.,+]*[sdfg]|%[sd]|\{\w*\}")
READ_ALOUD = {"title", "alt", "placeholder", "aria-label", "aria-description", "data-confirm", "content"}
VOID = {"br", "hr", "img", "input", "link", "meta", "source", "use", "path", "rect", "line", "circle", "wbr", "col"}


class Texts(HTMLParser):
    """What a page says, and the addresses that it leads to or fetches; code and what is marked as English left out."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts, self.addresses = set[str](), list[str]()
        self._left_out: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.addresses += [address for name in ("href", "hx-get") if tag != "link" and (address := named.get(name))]
        is_left_out = tag in ("code", "pre", "script", "style") or named.get("lang", "es") != "es"
        if tag not in VOID and (self._left_out or is_left_out):
            self._left_out.append(tag)
        elif not is_left_out:
            self.texts |= {" ".join((named[name] or "").split()) for name in READ_ALOUD & named.keys()}

    def handle_endtag(self, tag: str) -> None:
        if self._left_out and tag == self._left_out[-1]:
            self._left_out.pop()

    def handle_data(self, data: str) -> None:
        if not self._left_out:
            self.texts.add(" ".join(data.split()))


def english_lines() -> Iterator[str]:
    """Each message whose translation differs, as a pattern."""
    for message in translations.read(translations.ROOT / "locale/es/LC_MESSAGES/django.po"):
        ids, strings = ((one,) if isinstance(one, str) else one for one in (message.id, message.string))
        for text in set(ids) - set(strings):
            literal = PLACEHOLDER.sub(" ", text)
            if re.search(r"[A-Za-z]{3}", literal):
                yield ".+?".join(map(re.escape, PLACEHOLDER.split(" ".join(text.replace("%%", "%").split()))))


@pytest.mark.timeout(120)
def test_no_line_is_in_english(champion: ModelVersion, load: Callable[..., Dataset], sample: str) -> None:
    use(champion, load=load, sample=sample)
    client = Client()
    client.force_login(make_user("ann", "administrator"))
    english = re.compile("|".join(sorted(english_lines(), key=len, reverse=True)))
    waiting, seen, spoken = (
        ["/", "/search/?q=1", "/nowhere/", "/accounts/login/", "/accounts/password_reset/"],
        set[str](),
        dict[str, str](),
    )
    while waiting:
        address = waiting.pop()
        seen.add(urlsplit(address).path)
        page = Texts(client.get(address, headers={"accept-language": "es"}).text)
        for text in page.texts:
            spoken.setdefault(text, address)
        for link in page.addresses:
            parts = urlsplit(urljoin(address, link))
            if not parts.netloc and not LEFT_OUT.search(parts.path) and parts.path not in seen:
                seen.add(parts.path)
                waiting.append(f"{parts.path}?{parts.query}")

    problems = [
        f"{address}: {text[:150]}"
        for text, address in spoken.items()
        if ENGLISH.search(text) or english.fullmatch(text)
    ]
    assert len(seen) > 20
    assert not problems, "\n".join(sorted(problems))
