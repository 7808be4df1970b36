"""What the pages' views have in common."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from core.jobs import Job, enqueue


def start_job(request: HttpRequest, job: Job, text: str) -> HttpResponse:
    """Enqueue the job and redirect to its page."""
    enqueue(job)
    messages.info(request, text)
    return redirect(job)
