"""What the apps' APIs have in common: views that know their parameters, bodies, jobs."""

from collections.abc import Collection, Mapping
from typing import Any, ClassVar, TypeVar

from django import forms
from django.db.models import Model, QuerySet
from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext as _
from rest_framework import generics, serializers, status
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import Invalid
from core.idempotency import HEADER
from core.jobs import Job, State, enqueue
from core.moments import MomentField
from core.pagination import NewestFirst
from core.similar_names import similar_name

#: The fields of every job's serializer.
JOB_FIELDS = ("id", "state", "progress", "error", "created_at", "started_at", "finished_at")

M = TypeVar("M", bound=Model)
R = TypeVar("R")


class JobQuery(serializers.Serializer[None]):
    """Selects jobs; each field's source is the lookup."""

    state = serializers.ChoiceField(choices=State.choices, required=False)
    since = MomentField(source="created_at__gte")
    until = MomentField(source="created_at__lt")


class View(APIView):
    """A view that rejects query parameters it does not know, and a POST's key where it reads none."""

    #: The parameters of a GET: a serializer, which the schema describes, or the form of the page with the same list.
    query: ClassVar[type[serializers.Serializer[None]] | None] = None
    filter_form: ClassVar[type[forms.Form] | None] = None

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        super().initial(request, *args, **kwargs)
        # A method that there is not is answered 405, whatever it asks for.
        if request.META.get("QUERY_STRING") and request.method in self.allowed_methods:
            self._check_parameters(request)
        if HEADER in request.headers and request.method == "POST" and not self.reads_key():
            message = _("No key is read here: leave it out. What is sent again is recorded once.")
            raise Invalid({HEADER: [("not_read", message)]})

    def reads_key(self) -> bool:
        """Tell whether the POST reads an Idempotency-Key."""
        return getattr(getattr(self, "post", None), "is_idempotent", False)

    def parameter_names(self) -> list[str]:
        """List the parameters that a GET takes."""
        return [
            *(self.query().fields if self.query else ()),
            *(self.filter_form.base_fields if self.filter_form else ()),
        ]

    def read_query(self) -> dict[str, Any]:
        """Return the values of `query` by source; raises ValidationError with each parameter that is wrong."""
        if self.query is None:
            return {}
        query = self.query(data=self.request.query_params.dict())
        query.is_valid(raise_exception=True)
        return dict(query.validated_data)

    def _check_parameters(self, request: Request) -> None:
        known = self.parameter_names() if request.method in SAFE_METHODS else []
        message = _("This request takes no parameters.")
        if known:
            message = _("There is no such parameter; there are: %(names)s.") % {"names": ", ".join(known)}
        errors: dict[str, list[tuple[str, str]]] = {}
        for name, values in request.query_params.lists():
            if name not in known:
                errors[name] = [("unknown_parameter", message)]
            elif len(values) > 1:
                errors[name] = [("doubled_parameter", _("This parameter is given twice."))]
        if errors:
            raise Invalid(errors)


class ListView(View, generics.ListAPIView[M]):
    """A list in pages, filtered by the lookups of `query`."""

    def parameter_names(self) -> list[str]:
        return [*super().parameter_names(), NewestFirst.cursor_query_param, NewestFirst.page_size_query_param]

    def filter_queryset(self, queryset: QuerySet[M, R]) -> QuerySet[M, R]:
        return super().filter_queryset(queryset).filter(**self.read_query())


class DetailView(View, generics.RetrieveAPIView[M]):
    """One object."""


def validate_body(serializer: type[serializers.Serializer[Any]], request: Request) -> Mapping[str, Any]:
    """Return the body as the serializer reads it; raises Invalid for an unknown field and for one given twice."""
    if isinstance(request.data, MultiValueDict):
        # Of a form's fields the last would count; JSON is parsed more strictly.
        repeated = [name for name, values in request.data.lists() if len(values) > 1]
        if repeated:
            raise Invalid({name: [("doubled_field", _("This field is given twice."))] for name in repeated})
    bound = serializer(data=request.data)
    # First: a name that is nearly right explains the one that is missing.
    if isinstance(request.data, dict) and (unknown := set(request.data) - set(bound.fields)):
        raise Invalid(unknown_fields(unknown, known=bound.fields))
    bound.is_valid(raise_exception=True)
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
