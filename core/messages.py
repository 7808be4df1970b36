"""Messages that are stored: an English text with its parameters, put into words in the reader's language when shown.

The English text is the code. `Message(...)` marks it for translation as `gettext` does.
"""

from collections.abc import Mapping

from msgspec import Struct


class Message(Struct, frozen=True):
    """A text with named `%(...)s` placeholders, and what to fill in; without parameters it is shown as it is.

    A whole number is a count, shown with its thousands apart; what is no count is passed as a text.
    """

    text: str
    parameters: Mapping[str, "Parameter"] = {}

    def __str__(self) -> str:
        # Only those who show a message need Django: pure modules make them too.
        from django.utils.formats import number_format
        from django.utils.translation import gettext

        def in_words(value: "Parameter") -> str:
            if isinstance(value, (Message, str)):
                return str(value)
            digits = str(value) if isinstance(value, int) else f"{value:.4g}"
            return str(number_format(digits, force_grouping=True))

        text = gettext(self.text)
        return text % {name: in_words(value) for name, value in self.parameters.items()} if self.parameters else text


Parameter = str | int | float | Message
