"""Who acts: one principal for people, agents and the system itself, and the teams they belong to."""

from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from memoryhub.core.ids import new_id

SYSTEM_TEAM = "system"  # the installation's own team: changes that belong to no other are in its ledger


class Sensitivity(models.IntegerChoices):
    """How sensitive a row is; a clearance is the highest level that its holder may read."""

    PUBLIC = 0, "public"
    INTERNAL = 1, "internal"
    CONFIDENTIAL = 2, "confidential"


class ActorKind(models.TextChoices):
    HUMAN = "human"
    AGENT = "agent"
    SYSTEM = "system"


class Role(models.TextChoices):
    READER = "reader"
    SUPPORT = "support"
    LEAD = "lead"
    ADMIN = "admin"
    AGENT = "agent"
    SYSTEM = "system"


class PasswordOrigin(models.TextChoices):
    """Who chose a person's password. What somebody else chose must be changed at the first sign-in."""

    OWN = "own", "chosen by the person"
    GIVEN = "given", "given by an administrator"
    GENERATED = "generated", "made by first_run, and kept in a file"


class Actor(AbstractBaseUser):
    """A person, an agent or the system. Only people have a password and can sign in."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    username = models.CharField(max_length=150, unique=True)
    email = models.EmailField(blank=True)
    kind = models.CharField(max_length=10, choices=ActorKind.choices, default=ActorKind.HUMAN)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(
        default=False, help_text="May open the admin pages of the teams where their role is administrator."
    )
    password_origin = models.CharField(
        max_length=10, choices=PasswordOrigin.choices, default=PasswordOrigin.OWN, db_default=PasswordOrigin.OWN
    )
    is_demo = models.BooleanField(default=False, db_default=False, help_text="Of the demo; keeps the first password.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    USERNAME_FIELD = "username"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    app_may = "SELECT, INSERT, UPDATE"
    objects = BaseUserManager["Actor"]()

    class Meta:
        db_table = "actor"
        verbose_name = "person"
        verbose_name_plural = "people"
        constraints: ClassVar[list[Any]] = [
            models.CheckConstraint(
                name="actor_only_people_are_staff",
                condition=Q(kind="human") | Q(is_staff=False),
            )
        ]

    def __str__(self) -> str:
        return self.username

    @property
    def must_change_password(self) -> bool:
        """Whether the password is one that somebody else chose: then nothing but changing it is open to the person."""
        return self.password_origin != PasswordOrigin.OWN and not self.is_demo

    # Django's admin asks these; what a person may do is decided by the actions they call (core.access.permissions).
    def has_perm(self, perm: str, obj: object = None) -> bool:
        return self.is_active and self.is_staff

    def has_module_perms(self, app_label: str) -> bool:
        return self.is_active and self.is_staff


class DecisionsChangedBy(models.TextChoices):
    """Which agents may supersede, revoke and judge a decision."""

    ALL = "all", "every agent"
    AUTHOR_AND_HOLDER = "author_and_holder", "its author and the task's holder"


class Team(models.Model):
    """The unit of sharing: one memory, one ledger, one clock."""

    id = models.AutoField(primary_key=True)
    slug = models.SlugField(max_length=60, unique=True)
    name = models.CharField(max_length=120)
    tell_withheld = models.BooleanField(
        default=True, help_text="Tell people who see an escalation how many items are above their clearance."
    )
    acknowledge_hours = models.PositiveSmallIntegerField(
        default=24, help_text="An answer that its agent does not acknowledge is closed and marked after these hours."
    )
    feed_days = models.PositiveSmallIntegerField(
        default=30,
        db_default=30,
        help_text="A reader of the feed who is further behind than these days starts afresh.",
    )
    feed_floor = models.BigIntegerField(
        default=0, db_default=0, editable=False, help_text="The feed resumes at this seq or later; pruning raises it."
    )
    decisions_changed_by = models.CharField(
        max_length=20,
        choices=DecisionsChangedBy.choices,
        default=DecisionsChangedBy.ALL,
        db_default=DecisionsChangedBy.ALL,
        help_text="Which agents may supersede, revoke and judge a decision; people always may.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    app_may = "SELECT, INSERT, UPDATE"

    class Meta:
        db_table = "team"

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """An actor in a team: role, clearance and need-to-know words. An API key belongs to one membership."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    actor = models.ForeignKey(Actor, on_delete=models.PROTECT, related_name="memberships")
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="memberships")
    name = models.CharField(max_length=100, help_text="What the team calls this person or agent; unique in the team.")
    role = models.CharField(max_length=10, choices=Role.choices)
    clearance = models.SmallIntegerField(choices=Sensitivity.choices, default=Sensitivity.INTERNAL)
    compartments = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    app_may = "SELECT, INSERT, UPDATE"

    class Meta:
        db_table = "membership"
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(fields=["team", "actor"], name="membership_once_a_team"),
            models.UniqueConstraint(fields=["team", "name"], name="membership_name_once_a_team"),
            models.CheckConstraint(name="membership_clearance_known", condition=Q(clearance__in=[0, 1, 2])),
        ]

    def __str__(self) -> str:
        return self.name
