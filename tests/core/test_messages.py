"""Messages: stored as text and parameters, shown in the reader's language."""

import msgspec
from django.utils.translation import override

from core.messages import Message


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
