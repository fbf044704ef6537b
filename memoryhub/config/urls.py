"""Where each door is."""

from django.contrib import admin
from django.urls import include, path

from memoryhub.interface.http import metrics

urlpatterns = [
    path("api/v1/", include("agents.api.urls")),  # first: what is asked most is looked for least
    path("metrics", metrics.metrics),
    path("admin/", admin.site.urls),
    path("", include("escalations.desk.urls")),
]

# Pages for people, problem+json under /api/ and for whoever speaks JSON.
handler400 = "memoryhub.interface.pages.base.bad_request"
handler403 = "memoryhub.interface.pages.base.permission_denied"
handler404 = "memoryhub.interface.pages.base.not_found"
handler500 = "memoryhub.interface.pages.base.server_error"
