"""Scoring results for people and scripts."""

from django.http import Http404, StreamingHttpResponse
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _

from core.errors import Conflict
from core.jobs import State
from predictions.models import ScoringJob


def results_response(job: ScoringJob) -> StreamingHttpResponse:
    """Send the job's results as a download; raises Conflict before there are any, Http404 when they are gone."""
    # It takes a second to import, and only downloads need it.
    from predictions import scoring

    if job.state != State.SUCCEEDED:
        raise Conflict(
            _("%(job)s has no results: its state is “%(state)s”.") % {"job": job, "state": job.get_state_display()}
        )
    if not scoring.are_results_stored(job):
        raise Http404
    headers = {
        "Content-Disposition": content_disposition_header(as_attachment=True, filename=f"results-{job.pk}.csv"),
        "Content-Length": str(scoring.result_bytes(job)),
    }
    return StreamingHttpResponse(scoring.results(job), content_type="text/csv", headers=headers)
