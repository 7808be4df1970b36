"""The API's root: every app's API, the list of all runs, the schema and its HTML page."""

from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import path, re_path
from django.utils.translation import gettext as _
from django.views.generic import RedirectView
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from core import moments
from core.api import ListView, View
from core.errors import Invalid
from core.jobs import State
from core.models import Action, AuditEntry
from core.moments import MomentField
from core.pagination import NewestFirst
from core.roles import Scope
from features import api as features
from ingestion import api as ingestion
from monitoring import api as monitoring
from predictions import api as predictions
from titanic_site import schedule_api
from titanic_site.forms import AuditFilter
from titanic_site.job_list import Selection, labels, newest
from training import api as training


class RunSerializer(serializers.Serializer[Any]):
    """One job of any kind."""

    id = serializers.IntegerField()
    kind = serializers.CharField(source="_meta.model_name", read_only=True)
    state = serializers.ChoiceField(choices=State.choices)
    progress = serializers.FloatField()
    error = serializers.CharField()
    repeats = serializers.IntegerField(
        source="repeats_id",
        allow_null=True,
        read_only=True,
        help_text="The id of the run of this kind that it repeats.",
    )
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)


class RunPageSerializer(serializers.Serializer[None]):
    """A page of runs."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = RunSerializer(many=True)


class RunQuery(serializers.Serializer[None]):
    """Selects runs, and a page of them: those created before `cursor`."""

    kind = serializers.ChoiceField(choices=[], required=False, default="")
    state = serializers.ChoiceField(choices=State.choices, required=False, default="")
    since = MomentField()
    until = MomentField()
    cursor = MomentField()
    page_size = serializers.IntegerField(
        required=False, min_value=1, max_value=NewestFirst.max_page_size, default=NewestFirst.page_size
    )

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """Let `kind` be one of those that there are."""
        fields = super().get_fields()
        kind = fields["kind"]
        assert isinstance(kind, serializers.ChoiceField)
        kind.choices = [name for name, _label in labels()]
        return fields


class RunList(View):
    """Every job of every kind, newest first."""

    query = RunQuery

    @extend_schema(responses=RunPageSerializer)
    def get(self, request: Request) -> Response:
        values = self.read_query()
        size, cursor = values.pop("page_size"), values.pop("cursor", None)
        jobs = newest(request, before=cursor, count=size, selection=Selection(**values))
        url = request.build_absolute_uri()
        following = replace_query_param(url, "cursor", jobs[-1].created_at.isoformat()) if len(jobs) == size else None
        return Response({"next": following, "previous": None, "results": RunSerializer(jobs, many=True).data})


class AuditEntrySerializer(serializers.ModelSerializer[AuditEntry]):
    """One change or sign-in."""

    before = serializers.DictField(read_only=True)
    after = serializers.DictField(read_only=True)

    class Meta:
        model = AuditEntry
        fields = (
            "id", "at", "actor_kind", "actor", "token", "address", "request_id", "action", "object_kind", "object_id",
            "object_name", "object_url", "before", "after",
        )  # fmt: skip


@extend_schema_view(
    get=extend_schema(
        parameters=[
            OpenApiParameter("action", str, enum=Action.values),
            OpenApiParameter("actor", {"type": "string", "maxLength": 150}),
            OpenApiParameter("object_name", {"type": "string", "maxLength": 200}, description="A part of the name."),
            OpenApiParameter("request_id", {"type": "string", "maxLength": 36}),
            OpenApiParameter("since", OpenApiTypes.DATETIME, description=moments.HELP),
            OpenApiParameter("until", OpenApiTypes.DATETIME, description=moments.HELP),
        ]
    )
)
class AuditList(ListView[AuditEntry]):
    """The audit trail, newest first."""

    read_scope = Scope.ADMIN
    filter_form = AuditFilter
    serializer_class = AuditEntrySerializer

    def get_queryset(self) -> QuerySet[AuditEntry]:
        # The page's form sends fields without a value; here a moment or an action is one, or is left out.
        blank = [name for name in ("action", "since", "until") if self.request.query_params.get(name) == ""]
        if blank:
            raise Invalid({name: [("invalid", _("“%(value)s” cannot be read.") % {"value": ""})] for name in blank})
        filters = AuditFilter(self.request.query_params)
        if not filters.is_valid():
            raise Invalid.of_form(filters)
        return filters.entries()


class Unknown(View):
    """Answers 404 in the API's own shape."""

    schema = None

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        raise NotFound


def _own_styles(view: Any) -> Any:
    """Allow style attributes, which Swagger UI writes."""

    @wraps(view)
    def wrapped(request: HttpRequest) -> HttpResponse:
        response: HttpResponse = view(request)
        allowed = "style-src 'self' 'unsafe-inline'"
        response.headers["Content-Security-Policy"] = f"{settings.CONTENT_SECURITY_POLICY}; {allowed}"
        return response

    return wrapped


# Its template has no place for OPTIONS' metadata.
_open: dict[str, Any] = {"permission_classes": [AllowAny], "url_name": "api_schema", "metadata_class": None}

urlpatterns = [
    # One list: each nested level would cost a look-up at every request.
    *(pattern for api in (predictions, ingestion, features, training, monitoring) for pattern in api.urlpatterns),
    path("runs/", RunList.as_view()),
    path("audit/", AuditList.as_view()),
    *schedule_api.urlpatterns,
    path("schema/", SpectacularAPIView.as_view(permission_classes=[AllowAny]), name="api_schema"),
    # There was ReDoc, which fetches a logo from its maker.
    path("redoc/", login_not_required(RedirectView.as_view(pattern_name="api_docs"))),
    path("docs/", _own_styles(SpectacularSwaggerSplitView.as_view(**_open)), name="api_docs"),
    re_path(r"^[\s\S]*/$", Unknown.as_view()),
]
