"""The audit trail: who did what, when, from where."""

from typing import TypedDict

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext, gettext_lazy


class Action(models.TextChoices):
    """What was done."""

    QUEUED = "queued", gettext_lazy("Queued")
    CANCELLED = "cancelled", gettext_lazy("Cancelled")
    REPEATED = "repeated", gettext_lazy("Repeated")
    ARCHIVED = "archived", gettext_lazy("Archived")
    CORRECTED = "corrected", gettext_lazy("Corrected")
    PROMOTED = "promoted", gettext_lazy("Promoted")
    ROLLED_BACK = "rolled_back", gettext_lazy("Rolled back")
    SHADOW_STARTED = "shadow_started", gettext_lazy("Shadow scoring started")
    RETIRED = "retired", gettext_lazy("Retired")
    OUTCOME_RECORDED = "outcome_recorded", gettext_lazy("Outcome recorded")
    ADDED = "added", gettext_lazy("Added")
    CHANGED = "changed", gettext_lazy("Changed")
    DELETED = "deleted", gettext_lazy("Deleted")
    DOWNLOADED = "downloaded", gettext_lazy("Downloaded")
    ERASED = "erased", gettext_lazy("Erased")
    ACKNOWLEDGED = "acknowledged", gettext_lazy("Acknowledged")
    RESOLVED = "resolved", gettext_lazy("Resolved")
    RUN = "run", gettext_lazy("Run now")
    PASSWORD_CHANGED = "password_changed", gettext_lazy("Password changed")
    PASSWORD_LINK = "password_link", gettext_lazy("Password link made")
    SIGNED_IN = "signed_in", gettext_lazy("Signed in")
    SIGNED_OUT = "signed_out", gettext_lazy("Signed out")
    SIGN_IN_FAILED = "sign_in_failed", gettext_lazy("Sign-in failed")


class ActorKind(models.TextChoices):
    """What kind of actor it was: for a command it is the operating system's user, for a task the task's name."""

    USER = "user", gettext_lazy("User")
    TOKEN = "token", gettext_lazy("Token of a user")
    ANONYMOUS = "anonymous", gettext_lazy("Anonymous")
    COMMAND = "command", gettext_lazy("Command")
    TASK = "task", gettext_lazy("Task")


class Actor(TypedDict):
    """The fields that say who acted, and from where."""

    actor_kind: ActorKind
    actor: str
    token: str
    address: str


_NONE = "–"


def _known(value: object) -> object:
    """Return a value, and a dash for what is none."""
    return _NONE if value in (None, "", "None") else value


class AuditEntry(models.Model):
    """One change or sign-in. PostgreSQL rejects updates, and deletions within the first thirty days."""

    at = models.DateTimeField(gettext_lazy("at"), db_default=Now(), db_index=True)
    # Names, not keys: the row outlives the user, the token and the object.
    actor_kind = models.CharField(gettext_lazy("kind of actor"), max_length=9, choices=ActorKind)
    actor = models.CharField(gettext_lazy("actor"), max_length=150, blank=True)
    token = models.CharField(gettext_lazy("token"), max_length=25, blank=True)
    address = models.CharField(gettext_lazy("address"), max_length=45, blank=True)
    request_id = models.CharField(gettext_lazy("request id"), max_length=36, blank=True)
    action = models.CharField(gettext_lazy("action"), max_length=20, choices=Action)
    object_kind = models.CharField(gettext_lazy("kind of object"), max_length=100, blank=True)
    object_id = models.CharField(gettext_lazy("id of the object"), max_length=40, blank=True)
    object_name = models.CharField(gettext_lazy("object"), max_length=200, blank=True)
    object_url = models.CharField(max_length=200, blank=True)
    before = models.JSONField(gettext_lazy("before"), default=dict, encoder=DjangoJSONEncoder)
    after = models.JSONField(gettext_lazy("after"), default=dict, encoder=DjangoJSONEncoder)

    class Meta:
        verbose_name = gettext_lazy("audit entry")
        verbose_name_plural = gettext_lazy("audit entries")
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"{self.actor}: {self.action} {self.object_name}".strip()

    @property
    def kind_label(self) -> str:
        """The kind of object in the reader's language."""
        return gettext(self.object_kind) if self.object_kind else ""

    @property
    def object_label(self) -> str:
        """The object's name as it was recorded; of one that is called by its kind and number, the reader's words."""
        kind, _space, number = self.object_name.rpartition(" ")
        is_numbered = kind and number.isdecimal() and self.object_kind.startswith(kind.lower())
        return f"{capfirst(self.kind_label)} {number}" if is_numbered else self.object_name

    @property
    def changes(self) -> list[tuple[str, object, object]]:
        """What was changed: name, value before and value after, a dash for none; not what was none and still is."""
        names = {**self.before, **self.after}
        changes = [(name, _known(self.before.get(name)), _known(self.after.get(name))) for name in names]
        return [(name, before, after) for name, before, after in changes if (before, after) != (_NONE, _NONE)]


class JobLogLine(models.Model):
    """What was logged while a job ran, or the beginning of one of its stages."""

    task_id = models.CharField(max_length=60)
    at = models.DateTimeField(default=timezone.now, db_index=True)
    # As Python's logging counts them.
    level = models.PositiveSmallIntegerField()
    text = models.TextField()
    is_stage = models.BooleanField(default=False)

    class Meta:
        verbose_name = gettext_lazy("log line of a job")
        verbose_name_plural = gettext_lazy("log lines of jobs")
        ordering = ("pk",)
        indexes = [models.Index(fields=["task_id", "id"], name="log_line_by_job")]

    def __str__(self) -> str:
        return self.text


class StoredAnswer(models.Model):
    """The answer of the API to a request with an `Idempotency-Key`, for a day."""

    key = models.CharField(max_length=64, primary_key=True)
    body_hash = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(default=0)
    body = models.TextField(blank=True)
    location = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        verbose_name = gettext_lazy("stored answer")
        verbose_name_plural = gettext_lazy("stored answers")

    def __str__(self) -> str:
        return self.key
