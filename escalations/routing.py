"""Where the desk's sockets are."""

from django.urls import re_path

from escalations.consumers import QueueConsumer

websocket_urlpatterns = [re_path(r"^ws/t/(?P<team>[-a-zA-Z0-9_]{1,60})/queue/$", QueueConsumer.as_asgi())]
