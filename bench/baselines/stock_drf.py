"""A stock Django REST framework endpoint: ModelSerializer, ListCreateAPIView, token by a database lookup.

No labels, no row-level security, no ledger; the middleware of `django-admin startproject`. Served as the product is:
uvicorn, and Django's WSGI application in it through a2wsgi, with as many threads and persistent connections.
"""

import hashlib
import os
from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings

_url = urlsplit(os.environ["DATABASE_URL"])
settings.configure(
    SECRET_KEY=os.environ["SECRET_KEY"],
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    TIME_ZONE="UTC",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": _url.path[1:],
            "USER": _url.username,
            "PASSWORD": _url.password,
            "HOST": _url.hostname,
            "PORT": _url.port,
            "CONN_MAX_AGE": None,
            "CONN_HEALTH_CHECKS": True,
        }
    },
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "rest_framework"],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    REST_FRAMEWORK={
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    },
)
django.setup()

import uuid  # noqa: E402

from a2wsgi import WSGIMiddleware  # noqa: E402
from django.contrib.postgres.fields import ArrayField  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import models  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework import authentication, exceptions, generics, pagination, permissions, serializers  # noqa: E402


class Author(models.Model):
    id = models.UUIDField(primary_key=True)
    name = models.TextField(unique=True)
    digest = models.BinaryField()
    is_authenticated = True

    class Meta:
        app_label, db_table, managed = "baseline", "author", False


class Task(models.Model):
    id = models.UUIDField(primary_key=True)
    key = models.TextField(unique=True)
    title = models.TextField()

    class Meta:
        app_label, db_table, managed = "baseline", "task", False


class Observation(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    task = models.ForeignKey(Task, null=True, on_delete=models.PROTECT)
    author = models.ForeignKey(Author, on_delete=models.PROTECT)
    content = models.JSONField()
    tags = ArrayField(models.TextField(), default=list)
    importance = models.FloatField(null=True)
    private = models.BooleanField(default=False)
    pinned = models.BooleanField(default=False)
    occurred_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    client_ref = models.TextField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label, db_table, managed = "baseline", "observation", False


class KeyAuthentication(authentication.BaseAuthentication):
    def authenticate(self, request: Any) -> tuple[Author, None]:
        key = authentication.get_authorization_header(request).removeprefix(b"Bearer ")
        try:
            return Author.objects.get(digest=hashlib.sha256(key).digest()), None
        except Author.DoesNotExist:
            raise exceptions.AuthenticationFailed from None


class ObservationSerializer(serializers.ModelSerializer):
    task = serializers.SlugRelatedField(slug_field="key", queryset=Task.objects.all(), required=False)
    author = serializers.SlugRelatedField(slug_field="name", read_only=True)

    class Meta:
        model = Observation
        fields = "__all__"


class NewestFirst(pagination.CursorPagination):
    page_size = 50
    ordering = "-id"


class Observations(generics.ListCreateAPIView):
    authentication_classes = (KeyAuthentication,)
    permission_classes = (permissions.IsAuthenticated,)
    serializer_class = ObservationSerializer
    pagination_class = NewestFirst

    def get_queryset(self) -> "models.QuerySet[Observation]":
        rows = Observation.objects.select_related("task", "author")
        return rows.filter(task__key=self.request.query_params["task"])

    def perform_create(self, serializer: Any) -> None:
        serializer.save(author=self.request.user)


urlpatterns = [path("observations", Observations.as_view())]
application = WSGIMiddleware(get_wsgi_application(), workers=int(os.environ["WEB_THREADS"]))
