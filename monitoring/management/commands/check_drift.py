"""python manage.py check_drift"""

from typing import Any

from django.utils.translation import gettext as _

from core.commands import StepCommand
from monitoring import services
from predictions import log


class Command(StepCommand):
    help = "Compare the newest predictions with the champion's training data."

    def step(self, **options: Any) -> str:
        check = services.queue_check()
        # Without a worker, the newest predictions are still in the stream.
        log.drain()
        services.check_drift(check)
        if check.drifted is None:
            return _("%(check)s: not enough yet, %(size)s predictions.") % {"check": check, "size": check.window_size}
        if not check.drifted:
            return _("%(check)s: no drift in %(size)s predictions.") % {"check": check, "size": check.window_size}
        names = ", ".join(sorted({row.name for row in check.features.all() if row.drifted}))
        return _("%(check)s: drift in %(names)s.") % {"check": check, "names": names}
