"""The search index: derived from the memory's rows, written in the background, made anew by `reindex_search` (ADR 7).

All tables are made by the migration, with the keys and indexes that are their point.
"""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.search import SearchVectorField
from django.db import models

from memoryhub.core.models import Label, Membership, Team


class SearchShelf(models.Model):
    """What the same readers may see: the rows of one label, or one author's private rows of it.

    Statistics are kept by the shelf. What a reader's ranking rests on is a sum over the shelves that they may see.
    """

    team = models.ForeignKey(Team, on_delete=models.DO_NOTHING, related_name="+", db_index=False)
    label = models.ForeignKey(Label, on_delete=models.DO_NOTHING, related_name="+", db_index=False)
    audience = models.ForeignKey(Membership, null=True, on_delete=models.DO_NOTHING, related_name="+", db_index=False)

    class Meta:
        db_table = "search_shelf"
        managed = False


class SearchCell(models.Model):
    """A run of rows that were added to a shelf one after another. The words of a row are indexed under its cell.

    So the newest rows that have a word, however common, are found without looking at the older ones.
    """

    shelf = models.ForeignKey(SearchShelf, on_delete=models.DO_NOTHING, related_name="+", db_index=False)
    docs = models.IntegerField()
    length = models.BigIntegerField()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    class Meta:
        db_table = "search_cell"
        managed = False


class SearchDoc(models.Model):
    """One row of the memory as it is searched. `words`: its terms, each with its cell's number before it."""

    row_id = models.UUIDField(primary_key=True)
    type = models.CharField(max_length=12)
    shelf = models.ForeignKey(SearchShelf, on_delete=models.DO_NOTHING, related_name="+", db_index=False)
    cell = models.ForeignKey(SearchCell, on_delete=models.DO_NOTHING, related_name="+", db_index=False)
    words = SearchVectorField()
    length = models.IntegerField()
    importance = models.FloatField(null=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "search_doc"
        managed = False


class SearchTerm(models.Model):
    """In how many rows of a shelf a term is, and in how many of each cell that has it (the oldest cell first)."""

    shelf = models.OneToOneField(SearchShelf, primary_key=True, on_delete=models.DO_NOTHING, related_name="+")
    term = models.TextField()
    docs = models.IntegerField()
    cells: ClassVar = ArrayField(models.IntegerField())
    counts: ClassVar = ArrayField(models.IntegerField())

    class Meta:
        db_table = "search_term"
        managed = False


class SearchForm(models.Model):
    """A word as it was written, where its term (its stem) is another: for half words."""

    shelf = models.OneToOneField(SearchShelf, primary_key=True, on_delete=models.DO_NOTHING, related_name="+")
    form = models.TextField()
    term = models.TextField()

    class Meta:
        db_table = "search_form"
        managed = False


class SearchVector(models.Model):
    """What a row means, as one model of the embeddings endpoint has it: in `vector`, which only statements read.

    The table is there where the server has pgvector.
    """

    row = models.OneToOneField(SearchDoc, primary_key=True, on_delete=models.DO_NOTHING, related_name="+")
    shelf = models.ForeignKey(SearchShelf, on_delete=models.DO_NOTHING, related_name="+", db_index=False)
    cell = models.ForeignKey(SearchCell, on_delete=models.DO_NOTHING, related_name="+", db_index=False)
    model = models.TextField()

    class Meta:
        db_table = "search_vector"
        managed = False


class SearchVectorDue(models.Model):
    """A row that has no vector yet. `claim`: of the worker that has it, until `after`; `tries`: how often the endpoint
    has refused it.
    """

    row = models.OneToOneField(SearchDoc, primary_key=True, on_delete=models.DO_NOTHING, related_name="+")
    team = models.ForeignKey(Team, on_delete=models.DO_NOTHING, related_name="+", db_index=False)
    tries = models.IntegerField()
    after = models.DateTimeField()
    claim = models.UUIDField(null=True)

    class Meta:
        db_table = "search_vector_due"
        managed = False


class SearchVectorState(models.Model):
    """A team whose rows become vectors: of which model, and how the endpoint does."""

    team = models.OneToOneField(Team, primary_key=True, on_delete=models.DO_NOTHING, related_name="+")
    model = models.TextField()
    failures = models.IntegerField()
    resume_at = models.DateTimeField()

    class Meta:
        db_table = "search_vector_state"
        managed = False


class SearchState(models.Model):
    """How far the index has followed the team's ledger."""

    team = models.OneToOneField(Team, primary_key=True, on_delete=models.DO_NOTHING, related_name="+")
    seq = models.BigIntegerField()

    class Meta:
        db_table = "search_state"
        managed = False
