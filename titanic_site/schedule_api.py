"""The API of schedules."""

from datetime import timedelta
from http import HTTPStatus

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.urls import path
from django.utils import timezone
from django.utils.translation import gettext as _
from django_celery_beat.models import CrontabSchedule, PeriodicTask
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from core.api import ListView, View, validate_body
from core.errors import Forbidden, Invalid
from core.idempotency import idempotent
from core.roles import scopes_of_request
from core.schedule_runs import ScheduleRun
from core.uploads import FlagField
from predictions.serializers import StrictBooleanField
from titanic_site import schedule_list, schedules, timetables
from titanic_site.forms import time_zones
from titanic_site.schedule_list import Detail, Row

_LONGEST_SECONDS = int(schedules.LONGEST_INTERVAL.total_seconds())


class ScheduleRunSerializer(serializers.Serializer[ScheduleRun]):
    """A run that is over; its error is empty where it succeeded."""

    started_at = serializers.DateTimeField()
    seconds = serializers.FloatField()
    error = serializers.CharField(source="message")


class ScheduleSerializer(serializers.Serializer[Row | Detail]):
    """A schedule; one that is internal keeps the product itself running."""

    id = serializers.IntegerField(source="schedule.pk")
    name = serializers.CharField(source="label.name")
    description = serializers.CharField(source="label.about")
    is_internal = serializers.BooleanField(source="label.is_internal")
    source = serializers.IntegerField(  # type: ignore[assignment]
        source="label.source.pk", default=None, allow_null=True, help_text="The source that it loads, if it is one's."
    )
    task = serializers.CharField(source="schedule.task")
    queue = serializers.CharField(source="schedule.queue", allow_null=True)
    enabled = serializers.BooleanField(source="schedule.enabled")
    when = serializers.CharField(help_text="In words, such as “every hour”.")
    interval_seconds = serializers.SerializerMethodField()
    crontab = serializers.SerializerMethodField(help_text="Minute, hour, day of the month, month, day of the week.")
    time_zone = serializers.CharField(source="schedule.crontab.timezone", default=None, allow_null=True)
    next_run_at = serializers.DateTimeField(source="next_at", allow_null=True, help_text="Null while it is off.")
    last_run = ScheduleRunSerializer(allow_null=True)

    def get_interval_seconds(self, row: Row | Detail) -> int | None:
        """Count the seconds, whatever unit it is kept in."""
        interval = row.schedule.interval
        return int(interval.schedule.run_every.total_seconds()) if interval else None

    def get_crontab(self, row: Row | Detail) -> str | None:
        """Join the five fields."""
        crontab = row.schedule.crontab
        return timetables.crontab_text(crontab) if crontab else None


class ScheduleDetailSerializer(ScheduleSerializer):
    """A schedule with its next and its last runs, null while Redis is unavailable."""

    next_runs = serializers.ListField(child=serializers.DateTimeField())
    runs = ScheduleRunSerializer(many=True, allow_null=True)


class ScheduleChangeSerializer(serializers.Serializer[dict[str, object]]):
    """What is to change: on or off, and an interval or a crontab in a time zone."""

    enabled = StrictBooleanField(required=False)
    interval_seconds = serializers.IntegerField(required=False, min_value=1, max_value=_LONGEST_SECONDS)
    crontab = serializers.CharField(
        required=False,
        max_length=250,
        help_text="Five fields: minute, hour, day of the month, month, day of the week (0 is Sunday).",
    )
    time_zone = serializers.CharField(
        required=False, max_length=63, help_text="Of the crontab, such as Europe/Madrid; UTC when left out."
    )

    def validate_crontab(self, text: str) -> CrontabSchedule:
        """Read the five fields; rejects what no calendar has."""
        fields = text.split()
        if len(fields) != len(timetables.CRONTAB_FIELDS) or not text.isascii():
            raise serializers.ValidationError(_("Write five fields with spaces between them."))
        crontab = CrontabSchedule(**dict(zip(timetables.CRONTAB_FIELDS, fields, strict=True)))
        try:
            crontab.clean_fields()
        except ValidationError as error:
            raise serializers.ValidationError(error.messages) from error
        return crontab

    def validate_time_zone(self, name: str) -> str:
        """Require a time zone that the pages offer too."""
        if name not in time_zones():
            raise serializers.ValidationError(_("There is no such time zone."))
        return name

    def validate(self, values: dict[str, object]) -> dict[str, object]:
        """Require something to change, and no more than one timetable, which comes."""
        if not values:
            raise serializers.ValidationError(_("Say what is to change."))
        crontab, zone = values.get("crontab"), values.pop("time_zone", None)
        if not isinstance(crontab, CrontabSchedule):
            if zone:
                raise serializers.ValidationError({"time_zone": _("It is that of a crontab: give one too.")})
            return values
        if "interval_seconds" in values:
            raise serializers.ValidationError({"crontab": _("Give an interval or a crontab, not both.")})
        crontab.timezone = zone or "UTC"
        if not timetables.crontab_moments(crontab, after=timezone.now(), count=1):
            raise serializers.ValidationError({"crontab": _("This time never comes.")})
        return values


class ScheduleQuery(serializers.Serializer[None]):
    """Selects schedules."""

    enabled = FlagField(required=False)


class ScheduleList(ListView[PeriodicTask]):
    """Schedules, newest first."""

    queryset = PeriodicTask.objects.select_related(*schedule_list.TIMETABLES)
    serializer_class = ScheduleSerializer
    query = ScheduleQuery

    def paginate_queryset(self, queryset: QuerySet[PeriodicTask]) -> list[Row]:  # type: ignore[override]
        return schedule_list.rows(list(super().paginate_queryset(queryset) or ()))


class ScheduleDetail(View):
    """One schedule with its next and its last runs."""

    @extend_schema(responses=ScheduleDetailSerializer)
    def get(self, request: Request, pk: int) -> Response:
        return _answer(_schedule(pk))


class ScheduleChange(View):
    """Switch a schedule on or off, or change when it runs; fields that are left out stay."""

    @extend_schema(request=ScheduleChangeSerializer, responses=ScheduleDetailSerializer)
    @idempotent
    def post(self, request: Request, pk: int) -> Response:
        schedule = _schedule(pk)
        if not schedules.may_change([schedule], scopes=scopes_of_request(request)):
            raise Forbidden
        values = validate_body(ScheduleChangeSerializer, request)
        for name in ("interval_seconds", "crontab"):
            if name in values and schedules.is_too_rare(schedule, values.get("interval_seconds")):
                raise Invalid({name: [("rare", str(schedules.TOO_RARE))]})
        with transaction.atomic():
            if "enabled" in values:
                schedules.switch(schedule, is_enabled=values["enabled"])
            if "interval_seconds" in values:
                schedules.run_every(schedule, timedelta(seconds=values["interval_seconds"]))
            if "crontab" in values:
                schedules.run_by_crontab(schedule, values["crontab"])
        return _answer(schedule)


class ScheduleStart(View):
    """Run a schedule's task now: 409 when no worker knows it."""

    @extend_schema(request=None, responses={202: ScheduleDetailSerializer})
    @idempotent
    def post(self, request: Request, pk: int) -> Response:
        schedule = _schedule(pk)
        schedules.run_now(schedule)
        return _answer(schedule, status=HTTPStatus.ACCEPTED)


def _schedule(pk: int) -> PeriodicTask:
    schedule: PeriodicTask = generics.get_object_or_404(PeriodicTask, pk=pk)
    return schedule


def _answer(schedule: PeriodicTask, *, status: int = HTTPStatus.OK) -> Response:
    return Response(ScheduleDetailSerializer(schedule_list.detail(schedule)).data, status=status)


urlpatterns = [
    path("schedules/", ScheduleList.as_view()),
    path("schedules/<int:pk>/", ScheduleDetail.as_view()),
    path("schedules/<int:pk>/change/", ScheduleChange.as_view()),
    path("schedules/<int:pk>/run/", ScheduleStart.as_view()),
]
