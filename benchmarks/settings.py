"""The product's settings, with an address for an empty view beside its own."""

from titanic_site.settings import *  # noqa: F403 - all of them but a few

ROOT_URLCONF = "benchmarks.urls"
