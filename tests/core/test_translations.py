"""Spanish: every message of the code has its translation, and whoever asks for it reads it."""

import pytest
from babel.messages.catalog import Catalog
from django.test import Client
from django.utils.translation import gettext, override
from rest_framework.test import APIClient

from core import translations
from tests.people import OWEN
from training.models import ModelVersion

SPANISH = {"accept-language": "es"}


@pytest.fixture(scope="module")
def catalogue() -> Catalog:
    return translations.read(translations.ROOT / "locale" / "es" / "LC_MESSAGES" / "django.po")


def test_it_has_what_the_code_says_and_nothing_else(catalogue: Catalog) -> None:
    found, kept = ({message.id for message in one if message.id} for one in (translations.extracted(), catalogue))

    assert len(found) > 800
    assert found - kept == set(), "make messages, and translate what is new"
    assert kept - found == set(), "make messages"


def test_nothing_is_left_out(catalogue: Catalog) -> None:
    for message in catalogue:
        texts = [message.string] if isinstance(message.string, str) else message.string
        assert all(texts), message.id
        assert not message.fuzzy, message.id


def test_placeholders_are_those_of_the_message(catalogue: Catalog) -> None:
    assert [(message.id, list(errors)) for message, errors in catalogue.check()] == []


def test_whoever_chooses_it_keeps_it(client: Client, db: None) -> None:
    assert 'value="es" lang="es"' in client.get("/").text

    chosen = client.post("/i18n/setlang/", {"language": "es"}, headers={"referer": "http://testserver/datasets/"})
    page = client.get(chosen["Location"])

    with override("es"):
        assert gettext("Datasets") in page.text
    assert chosen["Location"] == "http://testserver/datasets/"
    assert 'value="en" lang="en"' in page.text


@pytest.mark.usefixtures("login_required")
def test_whoever_is_not_signed_in_may_choose_too(client: Client, db: None) -> None:
    chosen = client.post("/i18n/setlang/", {"language": "es"}, headers={"referer": "http://testserver/accounts/login/"})

    assert chosen["Location"] == "http://testserver/accounts/login/"
    assert '<html lang="es">' in client.get("/accounts/login/").text


@pytest.mark.parametrize("language", ["xx", "", "es\x00", "e" * 10_000])
def test_what_is_no_language_of_ours_changes_nothing(client: Client, db: None, language: str) -> None:
    assert client.post("/i18n/setlang/", {"language": language, "next": "//evil.example/"})["Location"] == "/"
    assert '<html lang="en">' in client.get("/").text


def test_the_api_says_it_with_the_same_codes(api: APIClient, champion: ModelVersion) -> None:
    ask = {**OWEN, "age": 300}
    ours, theirs = (
        api.post("/api/v1/predictions/", ask, format="json", headers=headers).json()["errors"][0]
        for headers in ({}, SPANISH)
    )

    assert (ours["code"], ours["attr"]) == (theirs["code"], theirs["attr"])
    assert ours["detail"] == "Must be from 0 to 120."
    with override("es"):
        assert theirs["detail"] == gettext("Must be from %(low)s to %(high)s.") % {"low": 0, "high": 120}
    assert theirs["detail"] != ours["detail"]
