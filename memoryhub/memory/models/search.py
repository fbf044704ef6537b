"""The search index: derived from the memory's rows, written in the background, rebuilt by `reindex_search` (ADR 7)."""

from django.contrib.postgres.search import SearchVectorField
from django.db import models

from memoryhub.core.models import Label, Membership, Team


class IndexTable(models.Model):
    """A table that the migration makes, with its keys and indexes."""

    class Meta:
        abstract = True
        managed = False


class SearchShelf(IndexTable):
    """Rows that the same readers may see: those of one label, or one author's private rows of it.

    Statistics are kept per shelf. A reader's ranking uses their sums over the shelves that the reader may see.
    """

    team = models.ForeignKey(Team, on_delete=models.DO_NOTHING, related_name="+", db_index=False)
    label = models.ForeignKey(Label, on_delete=models.DO_NOTHING, related_name="+", db_index=False)
    audience = models.ForeignKey(Membership, null=True, on_delete=models.DO_NOTHING, related_name="+", db_index=False)

    class Meta(IndexTable.Meta):
        db_table = "search_shelf"


class SearchCell(IndexTable):
    """A run of documents that were added to a shelf one after another: `docs` of them are left, of `filled`.

    So the newest documents that have a word, however common, are found without reading older ones.
    """

    shelf = models.ForeignKey(SearchShelf, on_delete=models.DO_NOTHING, related_name="+", db_index=False)
    docs = models.IntegerField()
    filled = models.IntegerField()
    length = models.BigIntegerField()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    class Meta(IndexTable.Meta):
        db_table = "search_cell"


class SearchDoc(IndexTable):
    """One row of the memory as it is searched, or a further part of a long one, whose row is `part_of`.

    `number`: in its cell. `words`: its terms, with positions. `task_id`: of rows that have neighbours in their task.
    """

    row_id = models.UUIDField(primary_key=True)
    part_of = models.UUIDField(null=True)
    task_id = models.UUIDField(null=True)
    type = models.CharField(max_length=12)
    shelf = models.ForeignKey(SearchShelf, on_delete=models.DO_NOTHING, related_name="+", db_index=False)
    cell = models.ForeignKey(SearchCell, on_delete=models.DO_NOTHING, related_name="+", db_index=False)
    number = models.IntegerField()
    words = SearchVectorField()
    length = models.IntegerField()
    importance = models.FloatField(null=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)

    class Meta(IndexTable.Meta):
        db_table = "search_doc"


class SearchPosting(IndexTable):
    """The documents of a cell that have a term: `entries`, in the format of search.postings."""

    shelf = models.OneToOneField(SearchShelf, primary_key=True, on_delete=models.DO_NOTHING, related_name="+")
    term = models.TextField()
    cell = models.ForeignKey(SearchCell, on_delete=models.DO_NOTHING, related_name="+", db_index=False)
    entries = models.BinaryField()

    class Meta(IndexTable.Meta):
        db_table = "search_posting"


class SearchForm(IndexTable):
    """A word as it was written, where its term (its stem) differs: for searching by parts of words."""

    shelf = models.OneToOneField(SearchShelf, primary_key=True, on_delete=models.DO_NOTHING, related_name="+")
    form = models.TextField()
    term = models.TextField()

    class Meta(IndexTable.Meta):
        db_table = "search_form"


class SearchVector(IndexTable):
    """The embedding of a row by one model, in `vector`, a column that only raw SQL reads.

    The table exists where the server has pgvector.
    """

    row = models.OneToOneField(SearchDoc, primary_key=True, on_delete=models.DO_NOTHING, related_name="+")
    shelf = models.ForeignKey(SearchShelf, on_delete=models.DO_NOTHING, related_name="+", db_index=False)
    cell = models.ForeignKey(SearchCell, on_delete=models.DO_NOTHING, related_name="+", db_index=False)
    model = models.TextField()

    class Meta(IndexTable.Meta):
        db_table = "search_vector"


class SearchVectorDue(IndexTable):
    """A row without a vector yet. `claim`: of the worker that has it, until `after`; `tries`: refusals so far."""

    row = models.OneToOneField(SearchDoc, primary_key=True, on_delete=models.DO_NOTHING, related_name="+")
    team = models.ForeignKey(Team, on_delete=models.DO_NOTHING, related_name="+", db_index=False)
    tries = models.IntegerField()
    after = models.DateTimeField()
    claim = models.UUIDField(null=True)

    class Meta(IndexTable.Meta):
        db_table = "search_vector_due"


class SearchVectorState(IndexTable):
    """A team whose rows are embedded: by which model, the failures in a row, and the end of the backoff."""

    team = models.OneToOneField(Team, primary_key=True, on_delete=models.DO_NOTHING, related_name="+")
    model = models.TextField()
    failures = models.IntegerField()
    resume_at = models.DateTimeField()

    class Meta(IndexTable.Meta):
        db_table = "search_vector_state"


class SearchState(IndexTable):
    """How far the index has followed the team's ledger.

    `edition`: that in which all rows are indexed; while it is an earlier one, `kind` and `last_id` say how far the
    present one has come.
    """

    team = models.OneToOneField(Team, primary_key=True, on_delete=models.DO_NOTHING, related_name="+")
    seq = models.BigIntegerField()
    edition = models.IntegerField(default=1)
    kind = models.TextField(null=True)
    last_id = models.UUIDField(null=True)

    class Meta(IndexTable.Meta):
        db_table = "search_state"
