"""The forms of the pages that span the apps."""

from datetime import timedelta
from functools import cache
from typing import ClassVar, cast
from zoneinfo import available_timezones

from django import forms
from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q, QuerySet
from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django_celery_beat.models import PeriodicTask

from core.jobs import State
from core.models import Action, AuditEntry
from core.moments import MomentFormField
from core.roles import ROLE_LABELS, Scope, scopes_of
from titanic_site import accounts, job_list, schedules, search, timetables
from titanic_site.models import AccessToken


class SearchForm(forms.Form):
    """What to search for: one line that people can read."""

    q = forms.CharField(
        label=gettext_lazy("Search"),
        required=False,
        max_length=search.LONGEST,
        widget=forms.TextInput(attrs={"type": "search", "autocomplete": "off", "aria-label": gettext_lazy("Search")}),
    )


#: What a visitor may choose instead of the system's own theme.
THEMES = {"light": gettext_lazy("Light"), "dark": gettext_lazy("Dark")}


@cache
def time_zones() -> tuple[str, ...]:
    """Return the names of the time zones that a visitor may choose: UTC, and those of places."""
    return ("UTC", *sorted(name for name in available_timezones() if "/" in name and not name.startswith("Etc/")))


class DisplayForm(forms.Form):
    """How a visitor wants the pages shown; each field is kept in a cookie of its name."""

    theme = forms.ChoiceField(
        label=gettext_lazy("Theme"), required=False, choices=[("", gettext_lazy("As the system")), *THEMES.items()]
    )
    language = forms.ChoiceField(label=gettext_lazy("Language"), required=False, choices=settings.LANGUAGES)
    time_zone = forms.ChoiceField(
        label=gettext_lazy("Time zone"), required=False, choices=lambda: [(name, name) for name in time_zones()]
    )


class AuditFilter(forms.Form):
    """Which audit entries to list."""

    action = forms.ChoiceField(
        label=gettext_lazy("Action"), required=False, choices=[("", gettext_lazy("all")), *Action.choices]
    )
    actor = forms.CharField(label=gettext_lazy("Actor"), required=False, max_length=150)
    object_name = forms.CharField(label=gettext_lazy("Object"), required=False, max_length=200)
    request_id = forms.CharField(label=gettext_lazy("Request id"), required=False, max_length=36)
    since = MomentFormField(label=gettext_lazy("Since"), required=False)
    until = MomentFormField(label=gettext_lazy("Until"), required=False)

    def entries(self) -> QuerySet[AuditEntry]:
        """Select the entries, newest first; none where a field cannot be read."""
        if not self.is_valid():
            return AuditEntry.objects.none()
        lookups = {"since": "at__gte", "until": "at__lt", "object_name": "object_name__icontains"}
        chosen = {lookups.get(name, name): value for name, value in self.cleaned_data.items() if value}
        return AuditEntry.objects.filter(**chosen)


class TimetableForm(forms.Form):
    """When a schedule runs: at an interval, or at a time on chosen days of the week."""

    class Kind(models.TextChoices):
        """Which half of the form counts."""

        INTERVAL = "interval", gettext_lazy("At an interval")
        WEEKLY = "weekly", gettext_lazy("At a time on chosen days")

    #: Seconds of each unit.
    UNITS: ClassVar = {
        1: gettext_lazy("seconds"),
        60: gettext_lazy("minutes"),
        3_600: gettext_lazy("hours"),
        86_400: gettext_lazy("days"),
    }

    kind = forms.ChoiceField(label=gettext_lazy("Runs"), choices=Kind, widget=forms.RadioSelect)
    every = forms.IntegerField(label=gettext_lazy("Every"), required=False, min_value=1, max_value=10**6)
    unit = forms.TypedChoiceField(label=gettext_lazy("Unit"), required=False, coerce=int, choices=list(UNITS.items()))
    time = forms.TimeField(
        label=gettext_lazy("Time"), required=False, widget=forms.TimeInput(format="%H:%M", attrs={"type": "time"})
    )
    days = forms.MultipleChoiceField(
        label=gettext_lazy("Days"),
        required=False,
        choices=list(timetables.DAYS.items()),
        widget=forms.CheckboxSelectMultiple,
    )

    def __init__(self, data: object = None, *, schedule: PeriodicTask) -> None:
        initial: dict[str, object] = {"kind": self.Kind.INTERVAL, "unit": 3_600}
        if schedule.interval:
            seconds = int(schedule.interval.schedule.run_every.total_seconds())
            unit = max(unit for unit in self.UNITS if seconds % unit == 0)
            initial |= {"every": seconds // unit, "unit": unit}
        if weekly := timetables.week_time(schedule.crontab):
            initial |= {"kind": self.Kind.WEEKLY, "days": weekly[0], "time": weekly[1]}
        super().__init__(data, initial=initial)  # type: ignore[arg-type]
        self.schedule = schedule

    def clean(self) -> dict[str, object]:
        """Require what the chosen half needs, within what can be run."""
        values: dict[str, object] = super().clean() or {}
        needed = {"interval": ("every", "unit"), "weekly": ("time", "days")}
        for name in needed.get(str(values.get("kind")), ()):
            if name not in self.errors and values.get(name) in (None, "", []):
                self.add_error(name, ValidationError(self.fields[name].error_messages["required"], code="required"))
        if values.get("kind") == self.Kind.INTERVAL and not self.errors and self.interval > schedules.LONGEST_INTERVAL:
            self.add_error("every", ValidationError(_("At most 366 days."), code="max_value"))
        is_interval = values.get("kind") == self.Kind.INTERVAL
        seconds = int(self.interval.total_seconds()) if is_interval and not self.errors else None
        if not self.errors and schedules.is_too_rare(self.schedule, seconds):
            self.add_error("every" if is_interval else "kind", ValidationError(schedules.TOO_RARE, code="rare"))
        return values

    @property
    def interval(self) -> timedelta:
        """The interval."""
        return timedelta(seconds=self.cleaned_data["every"] * self.cleaned_data["unit"])

    def save(self) -> None:
        """Change the schedule."""
        values = self.cleaned_data
        if values["kind"] == self.Kind.INTERVAL:
            schedules.run_every(self.schedule, self.interval)
        else:
            time = values["time"]
            schedules.run_weekly(self.schedule, days=values["days"], hour=time.hour, minute=time.minute)


class RunFilter(forms.Form):
    """Which runs to list."""

    kind = forms.ChoiceField(label=gettext_lazy("Kind"), required=False)
    state = forms.ChoiceField(
        label=gettext_lazy("State"), required=False, choices=[("", gettext_lazy("all")), *State.choices]
    )
    since = MomentFormField(
        label=gettext_lazy("Since"), required=False, widget=forms.DateTimeInput({"type": "datetime-local"})
    )
    until = MomentFormField(
        label=gettext_lazy("Until"), required=False, widget=forms.DateTimeInput({"type": "datetime-local"})
    )

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        field = self.fields["kind"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", gettext_lazy("all")), *job_list.labels()]


class TokenForm(forms.Form):
    """A new token of a user, with no more than the user's role permits."""

    note = forms.CharField(
        label=gettext_lazy("Name"), max_length=100, help_text=gettext_lazy("Who or what uses the token.")
    )
    granted = forms.MultipleChoiceField(label=gettext_lazy("It may"), widget=forms.CheckboxSelectMultiple)
    days = forms.TypedChoiceField(
        label=gettext_lazy("Expires"),
        required=False,
        coerce=int,
        empty_value=None,
        choices=[
            ("30", gettext_lazy("in 30 days")),
            ("90", gettext_lazy("in 90 days")),
            ("365", gettext_lazy("in a year")),
            ("", gettext_lazy("never")),
        ],
    )

    def __init__(self, data: QueryDict | None = None, *, user: User | None) -> None:
        permitted = scopes_of(user) if user else ()
        first = [scope for scope in (Scope.READ, Scope.PREDICT) if scope in permitted]
        super().__init__(data, initial={"granted": first, "days": "90"})
        choices = [(scope.value, scope.label) for scope in Scope if scope in permitted]
        cast("forms.MultipleChoiceField", self.fields["granted"]).choices = choices

    def save(self, user: User) -> tuple[AccessToken, str]:
        """Make the token and return its row and the token itself."""
        values = self.cleaned_data
        return accounts.make_token(user, scopes=values["granted"], days=values["days"], note=values["note"])


class UserFilter(forms.Form):
    """Which users to list."""

    q = forms.CharField(label=gettext_lazy("Name or email"), required=False, max_length=150)

    def users(self) -> QuerySet[User]:
        """Select the users; none where the text cannot be read."""
        if not self.is_valid():
            return User.objects.none()
        text = self.cleaned_data["q"]
        return (
            User.objects.filter(Q(username__icontains=text) | Q(email__icontains=text)) if text else User.objects.all()
        )


class RoleForm(forms.Form):
    """The role of a user, and whether the admin opens to them."""

    role = forms.ChoiceField(
        label=gettext_lazy("Role"),
        required=False,
        initial="viewer",
        choices=[*ROLE_LABELS.items(), ("", gettext_lazy("none: the form alone"))],
        help_text=gettext_lazy(
            "A viewer looks. An analyst also predicts, scores files and records outcomes. An operator also loads, "
            "trains, promotes, checks and schedules. An administrator also manages users and the tokens of others."
        ),
    )
    is_staff = forms.BooleanField(
        label=gettext_lazy("May open the admin"),
        required=False,
        help_text=gettext_lazy("There the role permits no more than here."),
    )


class InviteForm(RoleForm, forms.ModelForm):  # type: ignore[type-arg]
    """A person who is invited."""

    class Meta:
        model = User
        fields = ("username", "email")
        labels = {"username": gettext_lazy("User name"), "email": gettext_lazy("Email")}
        help_texts = {
            "username": gettext_lazy("Letters, digits and @ . + - _"),
            "email": gettext_lazy("Where the link is sent, and later one for a forgotten password."),
        }

    field_order = ("username", "email", "role", "is_staff")

    def clean_username(self) -> str:
        """Reject a name that differs from another one in capitals alone."""
        name: str = self.cleaned_data["username"]
        if User.objects.filter(username__iexact=name).exists():
            raise ValidationError(User._meta.get_field("username").error_messages["unique"], code="unique")
        return name
