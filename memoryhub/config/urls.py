"""The addresses of all doors."""

from django.contrib import admin
from django.urls import include, path

from memoryhub.interface.http import metrics

urlpatterns = [
    path("api/v1/", include("agents.api.urls")),  # first: the most requested is matched soonest
    path("metrics", metrics.metrics),
    path("admin/", admin.site.urls),
    path("", include("escalations.desk.urls")),
]

# Pages for people, problem+json under /api/ and for clients that want JSON.
handler400 = "memoryhub.interface.pages.base.bad_request"
handler403 = "memoryhub.interface.pages.base.permission_denied"
handler404 = "memoryhub.interface.pages.base.not_found"
handler500 = "memoryhub.interface.pages.base.server_error"
