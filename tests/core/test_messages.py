"""Messages: stored as text and parameters, shown in the reader's language."""

from datetime import timedelta

import msgspec
import pytest
from django.utils.translation import override

from core.messages import Message
from titanic_site.templatetags import titanic


def test_it_is_put_into_words_when_it_is_shown() -> None:
    model = Message("Model %(version)s", {"version": "1234"})
    text = "%(champion)s is not compared, for its file must not serve: %(reason)s"
    message = Message(text, {"champion": model, "reason": "100 %"})

    assert str(message) == "Model 1234 is not compared, for its file must not serve: 100 %"
    with override("es"):
        assert str(message) == "Modelo 1234 no se compara, porque su archivo no debe servir: 100 %"


def test_its_numbers_are_those_of_the_reader() -> None:
    message = Message("%(size)s kB, at most %(most)s kB.", {"size": 16384, "most": 0.12345})

    assert str(message) == "16,384 kB, at most 0.1235 kB."
    with override("es"):
        assert str(message) == "16.384 kB, como máximo 0,1235 kB."


def test_it_survives_json() -> None:
    inner = Message("Model %(version)s", {"version": "3"})
    message = Message("%(a)s", {"a": inner, "count": 3, "rate": 0.5})

    assert msgspec.json.decode(msgspec.json.encode(message), type=Message | str) == message


def test_without_parameters_nothing_is_filled_in() -> None:
    assert str(Message("100 % of %(nothing)s")) == "100 % of %(nothing)s"
    assert str(Message("")) == ""


def test_pages_write_numbers_as_the_reader_does() -> None:
    def written() -> list[str]:
        return [
            titanic.grouped(1309), titanic.percent(0.0512), titanic.decimals(0.849), titanic.signed(-0.0076),
            titanic.number(29718.4), titanic.number(0.5), titanic.duration(timedelta(seconds=2.25)), titanic.points(1),
        ]  # fmt: skip

    assert written() == ["1,309", "5.1%", "0.849", "-0.008", "29,718", "0.5", "2.2 s", "+100.0"]
    with override("es"):
        assert written() == ["1.309", "5,1\N{NO-BREAK SPACE}%", "0,849", "-0,008", "29.718", "0,5", "2,2 s", "+100,0"]


@pytest.mark.parametrize(
    "message",
    [
        Message("It failed: %(error)s") % {"error": ValueError("100 % {")},
        Message("Model %(version)s") % {"version": Message("%(rows)s rows") % {"rows": 1309}},
        Message('{"text":"%(x)s","parameters":{"y":1}}'),
        Message('{"text":'),
        Message(),
    ],
)
def test_a_column_keeps_it(message: Message) -> None:
    assert Message.load(message.dump()) == message
    assert str(Message.load(message.dump())) == str(message)


def test_what_an_earlier_version_stored_is_shown_as_it_is() -> None:
    assert str(Message.load("100 % of %(nothing)s")) == "100 % of %(nothing)s"
    assert str(Message.load('{"text":1}')) == '{"text":1}'
