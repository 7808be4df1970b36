"""python manage.py reproduce N"""

import sys

from django.utils.translation import gettext as _

from core.commands import progress_bar
from core.errors import TitanicError
from training import services
from training.management.commands._version import VersionCommand
from training.models import ModelVersion


class Command(VersionCommand):
    help = "Reproduce a version from its record, and report whether the file is the same or what differs."

    def step_for(self, version: ModelVersion, **options: object) -> str:
        reproduction = services.queue_reproduction(version=version)
        with progress_bar(reproduction, is_shown=sys.stderr.isatty()):
            services.reproduce(reproduction)
        differences = "; ".join(f"{item['name']}: {item['then']} → {item['now']}" for item in reproduction.differences)
        result = {
            "version": version,
            "sha256": reproduction.sha256,
            "differences": differences or _("nothing recorded"),
        }
        if not reproduction.is_equal:
            raise TitanicError(_("%(version)s was not reproduced. Differences: %(differences)s.") % result)
        return (
            _("%(version)s was reproduced to the last bit, sha256 %(sha256)s. Differences: %(differences)s.") % result
        )
