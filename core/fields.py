"""Columns of our own kinds."""

from typing import TYPE_CHECKING

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import Expression

from core.messages import Message

if TYPE_CHECKING:
    _TextField = models.TextField[Message | str, Message]
else:
    _TextField = models.TextField


class MessageField(_TextField):
    """A message, in a column of text: see `Message.dump`."""

    def from_db_value(
        self, value: str | None, _expression: Expression, _connection: BaseDatabaseWrapper
    ) -> Message | None:
        """Read a row's message; None where a join has no row."""
        return None if value is None else Message.load(value)

    def to_python(self, value: Message | str) -> Message:
        """Read what a form or a fixture has."""
        return value if isinstance(value, Message) else Message.load(value)

    def get_prep_value(self, value: Message | str) -> str:
        """Write a message, or a text that has nothing to fill in."""
        return value.dump() if isinstance(value, Message) else value
