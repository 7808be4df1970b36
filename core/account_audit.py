"""Record sign-ins, new accounts and passwords, whichever page, command or shell they come from."""

from django.contrib.auth import password_validation
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db.models.signals import post_save
from django.dispatch import receiver

from core import audit
from core.models import Action


@receiver(user_logged_in)
def record_sign_in(user: User, **_: object) -> None:
    """Record who signed in."""
    audit.record(Action.SIGNED_IN, user)


@receiver(user_logged_out)
def record_sign_out(user: User | None, **_: object) -> None:
    """Record who signed out; a request without a session has no user."""
    if user is not None:
        audit.record(Action.SIGNED_OUT, user)


@receiver(user_login_failed)
def record_failed_sign_in(credentials: dict[str, str], **_: object) -> None:
    """Record the name that was tried."""
    audit.record(Action.SIGN_IN_FAILED, str(credentials.get(User.USERNAME_FIELD, "")))


@receiver(post_save, sender=User)
def record_new_user(instance: User, *, created: bool, raw: bool, **_: object) -> None:
    """Record a new account: the admin makes some, and so do Django's own commands."""
    if created and not raw:
        audit.record(Action.ADDED, instance, after={"is_superuser": instance.is_superuser})


class MinimumLengthValidator(password_validation.MinimumLengthValidator):
    """Also records each new password: Django tells its validators, and sends no signal."""

    def password_changed(self, password: str, user: User | None = None) -> None:
        """Record whose password it is."""
        if user is not None:
            audit.record(Action.PASSWORD_CHANGED, user)
