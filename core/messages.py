"""Messages that are stored: an English text with its parameters, put into words in the reader's language when shown.

The English text is the code. `Message("...") % {...}` is written like `gettext("...") % {...}`, and extracted like it:
a module whose messages end in a row says `from core.messages import Message as _`.
"""

from collections.abc import Mapping, Sequence
from typing import Self

import msgspec

_JSON = '{"text":'


class Message(msgspec.Struct, frozen=True):
    """A text with named `%(...)s` placeholders, and what to fill in; without parameters it is shown as it is.

    A whole number is a count, shown with its thousands apart; what is no count is passed as a text.
    """

    text: str = ""
    parameters: Mapping[str, "Parameter"] = {}

    def __bool__(self) -> bool:
        return bool(self.text)

    def __mod__(self, values: Mapping[str, object]) -> "Message":
        """Fill in: what has a message itself (an error, a model with a `title`) is put into words with this one."""
        return Message(self.text, {name: _parameter(value) for name, value in values.items()})

    def __str__(self) -> str:
        # Only those who show a message need Django: pure modules make them too.
        from django.utils.translation import gettext

        from core.numbers import number

        def in_words(value: "Parameter") -> str:
            if isinstance(value, (list, tuple)):
                return ", ".join(map(str, value))
            return number(value) if isinstance(value, (int, float)) else str(value)

        text = gettext(self.text)
        return text % {name: in_words(value) for name, value in self.parameters.items()} if self.parameters else text

    def dump(self) -> str:
        """Write it as one text: as it is, or with parameters as JSON; so too what would be taken for that."""
        is_json = self.parameters or self.text.startswith(_JSON)
        return msgspec.json.encode(self).decode() if is_json else self.text

    @classmethod
    def load(cls, stored: str) -> Self:
        """Read what `dump` wrote, or a plain text."""
        if stored.startswith(_JSON):
            try:
                return msgspec.json.decode(stored, type=cls)
            except msgspec.DecodeError:
                pass
        return cls(stored)


Parameter = str | int | float | Message | Sequence[Message]


def as_message(value: Message | str) -> Message:
    """Return a message as it is, and a plain text as a message."""
    return value if isinstance(value, Message) else Message(value)


def of_error(error: BaseException) -> Message:
    """Return an error's message, or its text."""
    return error.args[0] if error.args and isinstance(error.args[0], Message) else Message(str(error))


def _parameter(value: object) -> Parameter:
    match value:
        case Message() | str() | int() | float():
            return value
        case list():
            return [as_message(one) for one in value]
        case BaseException():
            return of_error(value)
        case object(title=Message() as title):
            return title
        case _:
            return str(value)
