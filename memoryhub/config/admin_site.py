"""The admin pages."""

from django.contrib.admin.apps import AdminConfig


class HubAdminConfig(AdminConfig):
    default_site = "memoryhub.interface.pages.admin.HubAdminSite"
