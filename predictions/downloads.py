"""Scoring results for people and scripts."""

from django.http import FileResponse, Http404
from django.utils.translation import gettext as _

from predictions.models import ScoringJob
from titanic_site.lib.errors import Conflict


def results_response(job: ScoringJob) -> FileResponse:
    """The job's results as a download; raises Conflict before there are any."""
    if not job.results:
        raise Conflict(_("%(job)s has no results yet: it is %(state)s.") % {"job": job, "state": job.state})
    try:
        file = job.results.open("rb")
    except FileNotFoundError as error:
        raise Http404 from error
    return FileResponse(file, as_attachment=True, filename=f"results-{job.pk}.csv", content_type="text/csv")
