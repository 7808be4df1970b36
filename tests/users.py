"""People with a role."""

from typing import Any

from django.contrib.auth.models import Group, User


def make_user(name: str, role: str | None = "operator", **fields: Any) -> User:
    """Make a user with a role, or with none."""
    user = User.objects.create_user(name, **fields)
    if role:
        user.groups.add(Group.objects.get_or_create(name=role)[0])
    return user
