"""The compartments that a team has, so that making one is an act of its own."""

from typing import Any, ClassVar

from django.db import models
from django.db.models.functions import Now

from memoryhub.core.ids import new_id
from memoryhub.core.models.people import Membership, Team


class Compartment(models.Model):
    """A need-to-know word of a team. Who made it got it; the administrators who hold it give it to others."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="compartments")
    name = models.CharField(max_length=40, help_text="A need-to-know word: 1 to 40 of the characters a-z 0-9 _ -")
    maker = models.ForeignKey(Membership, null=True, on_delete=models.PROTECT, related_name="+", editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    app_may = "SELECT, INSERT"

    class Meta:
        db_table = "compartment"
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(fields=["team", "name"], name="compartment_once_a_team"),
        ]

    def __str__(self) -> str:
        return self.name
