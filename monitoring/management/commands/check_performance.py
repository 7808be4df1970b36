"""python manage.py check_performance"""

from django.utils.translation import gettext as _

from core.commands import StepCommand
from monitoring import performance
from predictions import log


class Command(StepCommand):
    help = "Measure the champion on recorded outcomes, and estimate it on the latest predictions."

    def step(self, **options: object) -> str:
        check = performance.queue_check()
        # Without a worker, the newest predictions are still in the stream.
        log.drain()
        performance.check(check)
        if check.accuracy is None:
            return _("%(check)s: no outcomes of the champion's predictions yet.") % {"check": check}
        message = _("%(check)s: accuracy %(accuracy).3f on %(count)s outcomes.")
        return message % {"check": check, "accuracy": check.accuracy, "count": check.outcome_count}
