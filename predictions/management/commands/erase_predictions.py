"""python manage.py erase_predictions FIELD VALUE [--yes]"""

from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import ngettext

from core.commands import StepCommand
from core.errors import Invalid, TitanicError
from predictions import erasure


class Command(StepCommand):
    help = "Count a person's predictions, or erase them with --yes."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("field", choices=erasure.FIELDS)
        parser.add_argument("value", help="exactly as it was sent")
        parser.add_argument("--yes", action="store_true", help="erase them; without it they are counted")

    def step(self, **options: Any) -> str:
        field, value = options["field"], options["value"]
        try:
            if not options["yes"]:
                count = erasure.find(field, value).count()
                return ngettext("%(count)s prediction.", "%(count)s predictions.", count) % {"count": count}
            count = erasure.erase(field, value)
        except Invalid as error:
            raise TitanicError(error.in_words()) from error
        return ngettext("%(count)s prediction erased.", "%(count)s predictions erased.", count) % {"count": count}
