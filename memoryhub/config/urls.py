"""Where each door is."""

from django.contrib import admin
from django.urls import include, path

from memoryhub.interface import health

urlpatterns = [
    path("api/v1/", include("agents.api.urls")),  # first: what is asked most is looked for least
    path("metrics", health.metrics),
    path("admin/", admin.site.urls),
    path("", include("escalations.urls")),
]

# Pages for people, problem+json under /api/ and for whoever speaks JSON.
handler400 = "memoryhub.interface.pages.bad_request"
handler403 = "memoryhub.interface.pages.permission_denied"
handler404 = "memoryhub.interface.pages.not_found"
handler500 = "memoryhub.interface.pages.server_error"
