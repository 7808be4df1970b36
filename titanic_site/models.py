"""Who may call the API."""

from django.db import models
from django.utils.translation import gettext_lazy
from knox.models import AbstractAuthToken


class AccessToken(AbstractAuthToken):  # type: ignore[misc]
    """An API token: only its hash is kept; whom it was made for is said by its note."""

    note = models.CharField(gettext_lazy("note"), max_length=100, blank=True)

    class Meta:
        verbose_name = gettext_lazy("access token")
        verbose_name_plural = gettext_lazy("access tokens")
