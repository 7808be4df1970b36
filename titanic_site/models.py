"""API tokens."""

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from knox.models import AbstractAuthToken

from core.tokens import Scope


class AccessToken(AbstractAuthToken):  # type: ignore[misc]
    """An API token: only its hash is stored; the note says for whom or what it was made."""

    note = models.CharField(gettext_lazy("note"), max_length=100, blank=True)
    can_predict = models.BooleanField(Scope.PREDICT.label, default=True)
    can_operate = models.BooleanField(Scope.OPERATE.label, default=True)

    class Meta:
        verbose_name = gettext_lazy("access token")
        verbose_name_plural = gettext_lazy("access tokens")

    def __str__(self) -> str:
        return f"{self.token_key}… ({self.user})"

    def clean(self) -> None:
        """Require an expiry in the future of a new token; an existing one may be ended."""
        super().clean()
        if self._state.adding and self.expiry is not None and self.expiry <= timezone.now():
            raise ValidationError({"expiry": _("Must be in the future.")})

    def allows(self, scope: str) -> bool:
        """Tell whether the token has the scope."""
        return {Scope.PREDICT.value: self.can_predict, Scope.OPERATE.value: self.can_operate}[scope]
