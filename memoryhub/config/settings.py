"""Settings. Everything that differs between machines comes from the environment (`.env.example`)."""

from csp.constants import NONE, SELF

from memoryhub.config import env
from memoryhub.config.logs import logging_config
from memoryhub.run.flags import ROOT

DATA = env.DATA

DEBUG = env.flag("DEBUG", False)
SECRET_KEY = env.secret("SECRET_KEY")
MASTER_KEYS = env.master_keys()
METRICS_TOKEN = env.text("METRICS_TOKEN", "")
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS")
HTTPS = env.flag("HTTPS", False)
# Whose X-Forwarded-For is believed (interface.http.addresses).
TRUSTED_PROXIES = env.networks("TRUSTED_PROXIES")

# `default` serves as the app role, under row-level security; `owner`, which only commands have, migrates.
DATABASES = {"default": env.database("DATABASE_URL")} | env.owner_databases()
REDIS_URL = env.text("REDIS_URL")
# Several systems may share one Valkey: every key and channel of this one begins with the prefix.
REDIS_PREFIX = env.text("REDIS_PREFIX", "memoryhub")

INSTALLED_APPS = [
    "memoryhub.config",
    "memoryhub.core",
    "memoryhub.memory",
    "escalations",
    "agents",
    "memoryhub.config.admin_site.HubAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "channels",
    "django_htmx",
    "csp",
]

MIDDLEWARE = [
    "memoryhub.interface.http.request_ids.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "memoryhub.interface.pages.first_password.FirstPasswordMiddleware",
]

# The middleware of programs' requests (config.wsgi): keys, not sessions; JSON, not pages.
API_MIDDLEWARE = [
    "memoryhub.interface.http.request_ids.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
]

ROOT_URLCONF = "memoryhub.config.urls"
WSGI_APPLICATION = "memoryhub.config.wsgi.application"
ASGI_APPLICATION = "memoryhub.config.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "memoryhub.interface.pages.templates.Templates",
        "DIRS": [ROOT / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "memoryhub.interface.pages.demo.context",
            ]
        },
    }
]

AUTH_USER_MODEL = "core.Actor"
AUTHENTICATION_BACKENDS = ["memoryhub.core.people.PeopleBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/login/"

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 12 * 3600
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "memoryhub.interface.pages.base.csrf_failure"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
# The API refuses plain HTTP by itself, with a problem; probes come from the same host.
SECURE_REDIRECT_EXEMPT = ["^api/", "^healthz$", "^readyz$", "^metrics$"]
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
if HTTPS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "object-src": [NONE],
    }
}
# The strict parser has its own, smaller bounds; these stop a form before it fills the memory.
DATA_UPLOAD_MAX_MEMORY_SIZE = 9 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1000

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": [],
    "UNAUTHENTICATED_USER": None,
    "EXCEPTION_HANDLER": "memoryhub.interface.http.problems.exception_handler",
}

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL], "prefix": f"{REDIS_PREFIX}:bell"},
    }
}
CELERY_BROKER_URL = REDIS_URL
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "global_keyprefix": f"{REDIS_PREFIX}:",
    "visibility_timeout": 600,
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1


def _every(seconds: float, task: str, *, expires: int) -> dict[str, object]:
    return {"task": task, "schedule": seconds, "options": {"expires": expires}}


CELERY_BEAT_SCHEDULE = {
    "sweep": _every(2.0, "memoryhub.core.tasks.sweep", expires=10),
    "keep_mark": _every(5.0, "memoryhub.core.tasks.keep_mark", expires=5),
    "prune_feeds": _every(86_400.0, "memoryhub.core.tasks.prune_feeds", expires=3600),
    "index": _every(1.0, "memoryhub.memory.search.tasks.index", expires=5),
    "upgrade-index": _every(5.0, "memoryhub.memory.search.tasks.upgrade_index", expires=5),
    "roll-up-insights": _every(10.0, "escalations.tasks.roll_up_insights", expires=10),
    "prune": _every(600.0, "memoryhub.core.tasks.prune", expires=600),
    "prune-drafts": _every(3_600.0, "escalations.tasks.prune_drafts", expires=600),
    "run-out-leases": _every(1.0, "memoryhub.memory.tasks.run_out_leases", expires=10),
    "expire-observations": _every(60.0, "memoryhub.memory.tasks.expire_observations", expires=60),
}
# Search by meaning (ADR 7): off without a URL.
EMBEDDINGS_URL, EMBEDDINGS_KEY, EMBEDDINGS_MODEL = env.embeddings()
if EMBEDDINGS_URL:
    CELERY_BEAT_SCHEDULE["embed"] = _every(2.0, "memoryhub.memory.search.tasks.embed", expires=5)
# The outbox's handlers, and event type -> reactions (by their paths, since nothing imports config).
OUTBOX_HANDLERS = "memoryhub.config.reactions.HANDLERS"
OLD_OUTBOX_HANDLERS = "memoryhub.config.reactions.OLD_HANDLERS"
REACTIONS = "memoryhub.config.reactions.REACTIONS"

STATIC_URL = "/static/"
STATIC_ROOT = DATA / "static"
STATICFILES_DIRS = [ROOT / "static", *([("vendor", DATA / "frontend")] if (DATA / "frontend").is_dir() else [])]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
WHITENOISE_MANIFEST_STRICT = False

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
DATETIME_FORMAT = "Y-m-d H:i:s"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

WEB_THREADS = env.number("WEB_THREADS", 16, low=1, high=200)
WEB_CORE = env.core("WEB_CORE")
RATE_LIMIT_PER_MINUTE = env.number("RATE_LIMIT_PER_MINUTE", 6_000, low=0, high=6_000_000)

# Budgets: bounds on what anybody can make the hub do, in bytes, seconds and counts. docs/operations.md has a table.
# Of connections and requests:
CONNECTIONS = env.number("CONNECTIONS", 10_000, low=16, high=1_000_000)
KEEP_ALIVE_SECONDS = env.number("KEEP_ALIVE_SECONDS", 75, low=1, high=3_600)
HEADER_BYTES = env.number("HEADER_BYTES", 32 * 1024, low=1024, high=65_535)
HEADER_SECONDS = env.number("HEADER_SECONDS", 10, low=1, high=600)
BODY_SECONDS = env.number("BODY_SECONDS", 60, low=1, high=3_600)
BODY_STALL_SECONDS = env.number("BODY_STALL_SECONDS", 10, low=1, high=600)
SEND_SECONDS = env.number("SEND_SECONDS", 30, low=1, high=600)
IN_FLIGHT_PER_KEY = env.number("IN_FLIGHT_PER_KEY", 32, low=1, high=10_000)
IN_FLIGHT_PER_SESSION = env.number("IN_FLIGHT_PER_SESSION", 16, low=1, high=10_000)
IN_FLIGHT_PER_ADDRESS = env.number("IN_FLIGHT_PER_ADDRESS", 8, low=1, high=10_000)
WAITERS_PER_IDEMPOTENCY_KEY = env.number("WAITERS_PER_IDEMPOTENCY_KEY", 4, low=1, high=1_000)
SOCKETS_PER_PERSON = env.number("SOCKETS_PER_PERSON", 20, low=1, high=10_000)
PASSWORD_THREADS = env.number("PASSWORD_THREADS", 1, low=1, high=16)
PASSWORD_QUEUE = env.number("PASSWORD_QUEUE", 16, low=1, high=1_000)
UNSENT_BYTES = env.number("UNSENT_BYTES", 24 * 1024 * 1024, low=1024 * 1024, high=16 * 1024**3)

# Of requests and responses:
ANSWER_BYTES = env.number("ANSWER_BYTES", 8 * 1024 * 1024, low=4 * 1024 * 1024, high=1024 * 1024 * 1024)
SCHEMA_BYTES = env.number("SCHEMA_BYTES", 64 * 1024, low=1024, high=256 * 1024)
SCHEMA_STEPS = env.number("SCHEMA_STEPS", 200_000, low=1000, high=10_000_000)

# Of what agents and people leave behind (labels, open escalations, drafts):
LABELS_PER_MEMBER = env.number("LABELS_PER_MEMBER", 64, low=1, high=100_000)
DRAFT_BYTES = env.number("DRAFT_BYTES", 256 * 1024, low=1024, high=1024 * 1024)
DRAFTS_PER_PERSON = env.number("DRAFTS_PER_PERSON", 200, low=1, high=100_000)
DRAFT_DAYS = env.number("DRAFT_DAYS", 30, low=1, high=3650)
OPEN_ESCALATIONS = env.number("OPEN_ESCALATIONS", 1000, low=1, high=100_000)
URGENT_ESCALATIONS = env.number("URGENT_ESCALATIONS", 20, low=0, high=100_000)
ESCALATION_NOTES = env.number("ESCALATION_NOTES", 100, low=1, high=10_000)

# Of the database:
STATEMENT_SECONDS = env.number("STATEMENT_SECONDS", 30, low=1, high=3_600)
LOCK_SECONDS = env.number("LOCK_SECONDS", 10, low=1, high=600)
IDLE_TRANSACTION_SECONDS = env.number("IDLE_TRANSACTION_SECONDS", 60, low=5, high=3_600)
SETTLE_SECONDS = env.number("SETTLE_SECONDS", 5, low=1, high=60)
SETTLE_WAITERS = env.number("SETTLE_WAITERS", max(1, WEB_THREADS // 4), low=1, high=200)
DATABASES["default"]["OPTIONS"]["options"] = env.session_options(
    STATEMENT_SECONDS, LOCK_SECONDS, IDLE_TRANSACTION_SECONDS
)

# Of signing in:
SIGNIN_LONGEST_DELAY = env.number("SIGNIN_LONGEST_DELAY", 30, low=1, high=3600)
SIGNIN_FREE_BY_NAME = env.number("SIGNIN_FREE_BY_NAME", 5, low=0, high=1000)
SIGNIN_FREE_BY_ADDRESS = env.number("SIGNIN_FREE_BY_ADDRESS", 10, low=0, high=100_000)
SIGNIN_FREE_BY_BOTH = env.number("SIGNIN_FREE_BY_BOTH", 3, low=0, high=1000)
SIGNIN_FORGET_MINUTES = env.number("SIGNIN_FORGET_MINUTES", 15, low=1, high=1440)
SIGNIN_ROWS = env.number("SIGNIN_ROWS", 50_000, low=10, high=10_000_000)
SIGNIN_RECORD_DAYS = env.number("SIGNIN_RECORD_DAYS", 180, low=30, high=3650)

LOGGING = logging_config(
    env.choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
    env.choice("LOG_FORMAT", "json", ("json", "text")),
)
