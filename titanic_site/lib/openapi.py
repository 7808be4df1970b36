"""What the API's schema cannot see by itself."""

from typing import Any

from drf_spectacular.contrib.knox_auth_token import KnoxTokenScheme


class TokenScheme(KnoxTokenScheme):  # type: ignore[no-untyped-call]
    """`Authorization: Token ...`."""

    target_class: Any = "titanic_site.lib.access.RememberingTokenAuthentication"
    name: Any = "token"
