"""What beat sends is known to the worker."""

from django.conf import settings


def test_the_worker_knows_each_task_that_beat_sends() -> None:
    from memoryhub.config.celery import app

    app.loader.import_default_modules()
    sent = {str(entry["task"]) for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert sent <= set(app.tasks)
    assert "escalations.tasks.unknown" not in app.tasks  # a control: names are looked up, not made
