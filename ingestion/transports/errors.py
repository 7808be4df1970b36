"""What goes wrong at a source."""

from core.errors import TitanicError


class SourceError(TitanicError):
    """A source that cannot be read; the message says what is wrong and what to do."""

    code = "source"

    def __init__(self, message: str, *, field: str | None = "uri") -> None:
        super().__init__(message, field=field)
