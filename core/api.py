"""What the apps' APIs have in common."""

from collections.abc import Collection, Mapping
from typing import Any

from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext as _
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from core.errors import Invalid
from core.jobs import Job, enqueue
from core.similar_names import similar_name

#: The fields of every job's serializer.
JOB_FIELDS = ("id", "state", "progress", "error", "created_at", "started_at", "finished_at")


def validate_body(serializer: type[serializers.Serializer[Any]], request: Request) -> Mapping[str, Any]:
    """Return the body as the serializer reads it; raises Invalid for an unknown field and for one given twice."""
    if isinstance(request.data, MultiValueDict):
        # Of a form's fields the last would count; JSON is parsed more strictly.
        repeated = [name for name, values in request.data.lists() if len(values) > 1]
        if repeated:
            raise Invalid({name: [("doubled_field", _("This field is given twice."))] for name in repeated})
    bound = serializer(data=request.data)
    bound.is_valid(raise_exception=True)
    unknown = set(request.data) - set(bound.fields)
    if unknown:
        raise Invalid(unknown_fields(unknown, known=bound.fields))
    return dict(bound.validated_data)


def unknown_fields(names: Collection[str], *, known: Collection[str]) -> dict[str, list[tuple[str, str]]]:
    """Return the errors of fields that there are not, each with the name that may have been meant."""
    errors = {}
    for name in sorted(names):
        meant = similar_name(name, known)
        message = _("There is no such field.")
        if meant is not None:
            message = _("There is no such field. Did you mean “%(name)s”?") % {"name": meant}
        errors[name] = [("unknown_field", message)]
    return errors


def accepted(job: Job, serializer: type[serializers.Serializer[Any]], *, request: Request) -> Response:
    """Enqueue the job and answer 202 with its address."""
    enqueue(job)
    location = request.build_absolute_uri(f"{request.path}{job.pk}/")
    return Response(serializer(job).data, status=status.HTTP_202_ACCEPTED, headers={"Location": location})
