"""The admin pages, inside a viewer's transaction."""

from django.contrib.admin import AdminSite


class HubAdminSite(AdminSite):
    site_header = "memoryhub"
