"""What the pages' views have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.contrib import messages
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from core.jobs import Job, enqueue


def start_job(request: HttpRequest, job: Job, text: str) -> HttpResponse:
    """Enqueue the job and redirect to its page."""
    enqueue(job)
    messages.info(request, text)
    return redirect(job)


@dataclass(frozen=True)
class Confirmation:
    """What a person confirms: the question, what follows, the button that goes on, and the address that does not."""

    title: str
    consequences: Sequence[str]
    submit: str
    back: str


def confirm(
    request: HttpRequest,
    confirmation: Confirmation,
    *,
    form: Form | None = None,
    template: str = "confirm.html",
    more: Mapping[str, object] | None = None,
) -> HttpResponse:
    """Render a page whose button posts to the page's own address."""
    context = {**vars(confirmation), "form": form, **(more or {})}
    return render(request, template, context, status=400 if form is not None and form.errors else 200)
