"""Where each door is."""

from django.contrib import admin
from django.urls import include, path

from memoryhub.interface import health

urlpatterns = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", health.metrics),
    path("api/v1/", include("agents.api.urls")),
    path("admin/", admin.site.urls),
    path("", include("escalations.urls")),
]
