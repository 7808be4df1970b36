"""Django's settings; everything that differs between installations is read from the environment."""

import os
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

from django.conf.locale import LANG_INFO
from django.templatetags.static import static
from django_guid.integrations import CeleryIntegration

from titanic_site import env
from titanic_site.layout import Layout
from titanic_site.logging import configuration
from titanic_site.metrics_files import FileNumbers

BASE_DIR = env.BASE_DIR
HOME = BASE_DIR / Path(env.text("TITANIC_HOME", "var")).expanduser()
#: Whether PostgreSQL and Redis are this installation's own.
IS_EMBEDDED = env.is_embedded()

DEBUG = env.flag("DEBUG", default=False)
SECRET_KEY = env.secret_key(HOME, is_embedded=IS_EMBEDDED, is_debugging=DEBUG)
HOST = env.text("HOST", "127.0.0.1")
PORT = env.number("PORT", default=8000, most=65_535)
WEB_WORKERS = env.number("WEB_WORKERS", default=2, most=64)
TRUSTED_PROXIES = env.networks("TRUSTED_PROXIES")
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS") or sorted(env.LOOPBACK | ({HOST} - env.ANYWHERE))
CSRF_TRUSTED_ORIGINS = env.origins("CSRF_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_celery_beat",
    "django_guid",
    "django_htmx",
    "django_prometheus",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "drf_standardized_errors",
    "knox",
    "rest_framework",
    "core",
    "titanic_site",
    "ingestion",
    "features",
    "training",
    "predictions",
    "monitoring",
]

MIDDLEWARE = [
    "monitoring.middleware.RequestMetrics",
    "titanic_site.access_log.access_log",
    "django_guid.middleware.guid_middleware",
    "titanic_site.middleware.ProbeMiddleware",
    "titanic_site.middleware.length_required",
    "titanic_site.middleware.packed_body",
    "titanic_site.middleware.kept_method",
    "django.middleware.security.SecurityMiddleware",
    "titanic_site.middleware.CompressionMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "titanic_site.middleware.time_zone",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "core.audit.remember_request",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "titanic_site.middleware.content_security_policy",
    "django_htmx.middleware.HtmxMiddleware",
    "titanic_site.middleware.ErrorPageMiddleware",
    "titanic_site.middleware.AccessMiddleware",
]
LOGIN_REQUIRED = env.flag("LOGIN_REQUIRED", default=True)
PUBLIC_FORM = env.flag("PUBLIC_FORM", default=True)
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "overview"
LOGOUT_REDIRECT_URL = "home"

ROOT_URLCONF = "titanic_site.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "titanic_site.context.visitor",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            "builtins": [
                "django.templatetags.i18n",
                "django.templatetags.static",
                "titanic_site.templatetags.titanic",
                "titanic_site.templatetags.profile",
            ],
        },
    }
]

DATABASES = {
    "default": env.database(env.text("DATABASE_URL", Layout(HOME).database_url), password=env.text("POSTGRES_PASSWORD"))
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REDIS_URL = env.url(
    "REDIS_URL",
    Layout(HOME).redis_url,
    schemes=("redis", "rediss", "unix"),
    example="redis://:password@host:6379/0",
)

AUTHENTICATION_BACKENDS = ["core.sign_in.PasswordBackend"]
PASSWORD_HASHERS = ["core.sign_in.BackgroundHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "core.account_audit.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

LANGUAGE_CODE = "en"
# English, and whatever has a folder of translations.
LANGUAGES = [
    ("en", "English"),
    *((path.name, LANG_INFO[path.name]["name_local"].capitalize()) for path in sorted(BASE_DIR.glob("locale/*"))),
]
LOCALE_PATHS = [BASE_DIR / "locale"]
FORMAT_MODULE_PATH = "titanic_site.formats"
TIME_ZONE = "UTC"
USE_TZ = True
LANGUAGE_COOKIE_NAME = "language"

# Files are served from the packages they come in: no collecting step between a clone and a page (decision 0018). The
# address has a hash of our own files and of the versions of all packages: what lies there never changes.
_SERVED = [BASE_DIR / "requirements/run.txt", *sorted(BASE_DIR.glob("titanic_site/static/**/*.*"))]
_STATIC_HASH = sha256(b"".join(path.read_bytes() for path in _SERVED)).hexdigest()[:12]
STATIC_URL = "static/" if DEBUG else f"static/{_STATIC_HASH}/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_IMMUTABLE_FILE_TEST = rf"/{_STATIC_HASH}/"
MEDIA_ROOT = HOME / "artifacts"
# https://cloud.google.com/storage/docs/buckets#naming
ARTIFACT_BUCKET = env.matching(
    "ARTIFACT_BUCKET",
    r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]",
    hint="write the name alone, without gs:// and folders.",
)
STORAGES = {
    "default": {"BACKEND": "core.bucket.Bucket" if ARTIFACT_BUCKET else "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
LARGEST_UPLOAD = 2 * 1024**3
#: How many uploaded files, and bytes of them, are kept of one user and in all; 0 is no limit.
UPLOADS_PER_USER = env.number("UPLOADS_PER_USER", default=1000, least=0, most=10**6)
UPLOAD_BYTES_PER_USER = 1024**3 * env.number("UPLOAD_GB_PER_USER", default=20, least=0, most=10**6)
UPLOAD_BYTES_IN_ALL = 1024**3 * env.number("UPLOAD_GB_IN_ALL", default=100, least=0, most=10**6)
#: How many files of one user are scored at a time.
MOST_OPEN_JOBS = 5
#: How many of the newest feature batches stay in Redis, beside the current one and those of models in use.
FEATURE_BATCHES_KEPT = 5
DATA_UPLOAD_MAX_MEMORY_SIZE = 10 * 1024**2
FILE_UPLOAD_MAX_MEMORY_SIZE = 1024**2
FILE_UPLOAD_HANDLERS = [
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "core.file_names.GeneratedNameUploadHandler",
]

#: How many whole months of predictions are kept beside the present one; None keeps all.
PREDICTIONS_KEPT_MONTHS = env.number("PREDICTIONS_KEPT_MONTHS", default=0, least=0, most=1200) or None
#: For how many days the rest of what grows is kept; 0 keeps all.
DEAD_LETTERS_KEPT_DAYS = env.number("DEAD_LETTERS_KEPT_DAYS", default=0, least=0, most=36_500)
SHADOW_SCORES_KEPT_DAYS = env.number("SHADOW_SCORES_KEPT_DAYS", default=180, least=0, most=36_500)
SCORING_KEPT_DAYS = env.number("SCORING_KEPT_DAYS", default=90, least=0, most=36_500)
JOBS_KEPT_DAYS = env.number("JOBS_KEPT_DAYS", default=365, least=0, most=36_500)
ALERTS_KEPT_DAYS = env.number("ALERTS_KEPT_DAYS", default=365, least=0, most=36_500)
#: For how many days the audit trail is kept; PostgreSQL deletes none of its entries before thirty.
AUDIT_KEPT_DAYS = env.number("AUDIT_KEPT_DAYS", default=730, least=30, most=36_500)

# Web speaks plain http: that the client's side is https is known from a trusted proxy alone.
HTTPS = env.flag("HTTPS", default=False)
if HTTPS and not TRUSTED_PROXIES:
    env.refuse("HTTPS is true and TRUSTED_PROXIES is empty: name the proxy that ends TLS there.")
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = HTTPS
SECURE_HSTS_SECONDS = env.number("HSTS_SECONDS", default=3600, least=0, most=63_072_000) if HTTPS else 0
# Whether the domain's other sites are https alone, and for all browsers to know, is not this site's to say.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
SESSION_COOKIE_AGE = 3600 * env.number("SESSION_HOURS", default=12, most=8760)
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'self'; form-action 'self';"
    " frame-ancestors 'none'"
)
# The theme's Alpine.js evaluates expressions of the page, and its templates have style attributes.
ADMIN_CONTENT_SECURITY_POLICY = (
    f"{CONTENT_SECURITY_POLICY}; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'"
)

vars().update(env.email(env.text("EMAIL_URL", "console:")))

ADMIN_PASSWORD = env.text("ADMIN_PASSWORD")
SOURCE_URI = env.text("SOURCE_URI", str(BASE_DIR / "ingestion/sample/sample.csv"))

CELERY_BROKER_URL = env.broker_url(REDIS_URL)
JOB_LEASE = timedelta(seconds=env.number("JOB_LEASE_SECONDS", default=60, least=5, most=3600))
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# State lives on the job rows.
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "titanic_site.beat.SoleScheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = 5
#: The file whose age tells the health check of a container that worker or scheduler lives; none without containers.
HEARTBEAT_PATH = env.text("HEARTBEAT_PATH")
#: Queue -> hard time limit in seconds of its tasks; the soft limit is nine tenths of it.
QUEUES = {"fast": 60, "default": 900, "scoring": 3600, "training": 3600}
#: How many sets of hyper-parameters a training tries unless told otherwise: three rounds of 27, 9 and 3.
TRAINING_CANDIDATES = env.number("TRAINING_CANDIDATES", default=27, least=0, most=1000)
#: What one training may take, all its processes together; below the queue's own limits, which give no reason.
LONGEST_TRAINING_SECONDS = 0.8 * QUEUES["training"]
LARGEST_TRAINING_BYTES = 4 * 2**30
#: Where messages about alerts are posted as JSON; empty is nowhere.
ALERT_WEBHOOK_URL = env.url("ALERT_WEBHOOK_URL", schemes=("http", "https"), example="https://example.org/hook")
#: Signs what is posted there.
ALERT_WEBHOOK_SECRET = env.text("ALERT_WEBHOOK_SECRET")
#: Who is sent mail about alerts, by the server of EMAIL_URL.
ALERT_EMAILS = env.addresses("ALERT_EMAILS")
#: In which language and time zone these messages are.
ALERT_LANGUAGE = env.one_of("ALERT_LANGUAGE", *(code for code, _name in LANGUAGES))
ALERT_TIME_ZONE = env.time_zone("ALERT_TIME_ZONE")
#: How people reach this site: the links in messages begin so.
SITE_URL = env.url(
    "SITE_URL",
    f"http://{'127.0.0.1' if HOST in env.ANYWHERE else HOST}:{PORT}",
    schemes=("http", "https"),
    example="https://titanic.example.org",
).rstrip("/")
DRIFT_BACKEND = env.one_of("DRIFT_BACKEND", "alibi", "scipy")
DASK_SCHEDULER = env.text("DASK_SCHEDULER")
#: The version of the code that trainings record, where no clone tells it.
GIT_COMMIT = env.text("GIT_COMMIT")
#: Whether a version that passes the gate is promoted by itself.
AUTO_PROMOTE = env.flag("AUTO_PROMOTE", default=True)
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # Redis hands a running task out again after this: keep it above the longest hard limit.
    "visibility_timeout": 2 * max(QUEUES.values()),
    "socket_keepalive": True,
    "health_check_interval": 10,
}

API_ALLOW_ANONYMOUS = env.flag("API_ALLOW_ANONYMOUS", default=False)
THROTTLE_PREDICT = env.rate("THROTTLE_PREDICT", default="off")
THROTTLE_ANON = env.rate("THROTTLE_ANON", default="60/m")
#: Failed sign-ins of an address; and ten times as many with a user name, from all addresses together.
THROTTLE_SIGN_IN = env.rate("THROTTLE_SIGN_IN", default="20/h")
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["core.tokens.CachedTokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["core.tokens.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["core.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["core.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "core.openapi.Schema",
    "DEFAULT_PAGINATION_CLASS": "core.pagination.NewestFirst",
    "EXCEPTION_HANDLER": "core.api_errors.api_exception_handler",
    # `?format=onnx` is ours.
    "URL_FORMAT_OVERRIDE": None,
    "DEFAULT_THROTTLE_CLASSES": ["core.tokens.TokenThrottle"] if THROTTLE_PREDICT else [],
}
KNOX_TOKEN_MODEL = "titanic_site.AccessToken"  # noqa: S105 - a model's name
# knox's only table is swapped for ours, yet its migrations would make it.
MIGRATION_MODULES = {"knox": None}
REST_KNOX = {"TOKEN_TTL": None, "TOKEN_MODEL": KNOX_TOKEN_MODEL}
DRF_STANDARDIZED_ERRORS = {"ENABLE_IN_DEBUG_FOR_UNHANDLED_EXCEPTIONS": True}
SPECTACULAR_SETTINGS = {
    "TITLE": "Titanic MLOps",
    "DESCRIPTION": "The whole life of a model: tables, features, training, predictions and monitoring.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "AlertSeverityEnum": "monitoring.alert_kinds.Severity",
        "AlertStateEnum": "monitoring.models.AlertState",
        "DriftMethodEnum": "monitoring.models.Method",
        "SeverityEnum": "ingestion.models.RowSeverity",
        "StateEnum": "core.jobs.State",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "core.openapi.add_shared_parts",
        "core.openapi.add_summaries",
    ],
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

DJANGO_GUID = {
    "GUID_HEADER_NAME": "X-Request-ID",
    "VALIDATE_GUID": True,
    "UUID_LENGTH": 32,
    # A job's log lines carry the id of the request that queued it.
    "INTEGRATIONS": [CeleryIntegration(use_django_logging=True)],
}
#: Whether each request is a line of the log.
ACCESS_LOG = env.flag("ACCESS_LOG", default=True)
LOG_KEPT_DAYS = env.number("LOG_KEPT_DAYS", default=30, most=3650)
LOGGING = configuration(
    HOME / "logs",
    log_format=env.one_of("LOG_FORMAT", "text", "json"),
    kept_days=LOG_KEPT_DAYS,
    # A person watches the terminal of an installation with servers of its own.
    is_access_printed=not IS_EMBEDDED,
)

# Few: each is a series for every view and method, and a scrape pays for all of them.
PROMETHEUS_LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, float("inf"))
# Counters of all processes on this machine meet in these files; set before prometheus_client is imported.
METRICS_DIR = HOME / "metrics"
METRICS_DIR.mkdir(parents=True, exist_ok=True)
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(METRICS_DIR)
from prometheus_client import values as prometheus  # noqa: E402 - it reads the environment that is set above

prometheus.ValueClass = prometheus.MultiProcessValue(FileNumbers(METRICS_DIR))  # type: ignore[no-untyped-call]
#: Where a worker shows its metrics; 0 is nowhere.
METRICS_PORT = env.number("METRICS_PORT", default=0, least=0, most=65_535)

UNFOLD = {
    "SITE_TITLE": "Titanic MLOps",
    "SITE_HEADER": "Titanic MLOps",
    "SITE_ICON": lambda _request: static("logo.svg"),
    "STYLES": [lambda _request: static("theme/admin.css")],
    "SHOW_LANGUAGES": True,
    # The accent of the pages (`app.css`), light and dark.
    "COLORS": {
        "primary": {
            "50": "#f3f7fd", "100": "#e8effb", "200": "#d0e0f8", "300": "#a6c8f9", "400": "#82b1f5", "500": "#4d86dd",
            "600": "#2458b8", "700": "#1b458f", "800": "#1c3a70", "900": "#1c2c45", "950": "#0d1520",
        },
    },
}  # fmt: skip
