"""API tokens."""

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from knox.models import AbstractAuthToken

from core.roles import Scope, Scopes, scopes_of

SCOPE_FIELDS = tuple(f"can_{scope}" for scope in Scope)


class AccessToken(AbstractAuthToken):  # type: ignore[misc]
    """An API token: only its hash is stored; the note says for whom or what it was made."""

    note = models.CharField(gettext_lazy("note"), max_length=100, blank=True)
    can_read = models.BooleanField(Scope.READ.label, default=True)
    can_predict = models.BooleanField(Scope.PREDICT.label, default=True)
    can_operate = models.BooleanField(Scope.OPERATE.label, default=True)
    can_admin = models.BooleanField(Scope.ADMIN.label, default=False)

    #: What it permits now, set when a request presents it.
    scopes: Scopes = frozenset()

    class Meta:
        verbose_name = gettext_lazy("access token")
        verbose_name_plural = gettext_lazy("access tokens")

    def __str__(self) -> str:
        return f"{self.token_key}… ({self.user})"

    def clean(self) -> None:
        """Require an expiry in the future of a new token; that of an existing one may be brought forward."""
        super().clean()
        if self._state.adding and self.expiry is not None and self.expiry <= timezone.now():
            raise ValidationError({"expiry": _("Must be in the future.")})
        earlier = AccessToken.objects.filter(pk=self.pk, expiry__isnull=False).values_list("expiry", flat=True).first()
        if earlier and (self.expiry is None or self.expiry > earlier):
            raise ValidationError({"expiry": _("May only be brought forward: make a new token that lasts longer.")})
        # Without a user the form has its own error.
        beyond = self.granted - scopes_of(self.user) if self.user_id else ()
        if beyond:
            message = _("The role of %(user)s does not permit this.") % {"user": self.user}
            raise ValidationError({f"can_{scope}": message for scope in beyond})

    @property
    def granted(self) -> Scopes:
        """What the token permits as far as its owner's role does."""
        return frozenset(scope for scope in Scope if getattr(self, f"can_{scope}"))

    @property
    def scope_names(self) -> list[str]:
        """The granted scopes in their order."""
        return [scope.value for scope in Scope if scope in self.granted]
