"""Who may call the API."""

from django.db import models
from django.utils.translation import gettext_lazy
from knox.models import AbstractAuthToken

from titanic_site.lib.access import Scope


class AccessToken(AbstractAuthToken):  # type: ignore[misc]
    """An API token: only its hash is kept; whom it was made for is said by its note."""

    note = models.CharField(gettext_lazy("note"), max_length=100, blank=True)
    can_predict = models.BooleanField(Scope.PREDICT.label, default=True)
    can_operate = models.BooleanField(Scope.OPERATE.label, default=True)

    class Meta:
        verbose_name = gettext_lazy("access token")
        verbose_name_plural = gettext_lazy("access tokens")

    def __str__(self) -> str:
        return f"{self.token_key}… ({self.user})"

    def allows(self, scope: str) -> bool:
        """Whether it is good for this."""
        return {Scope.PREDICT.value: self.can_predict, Scope.OPERATE.value: self.can_operate}[scope]
