"""/api/v1/: one line a door."""

from django.urls import path, re_path, register_converter

from agents.api import (
    addresses,
    alerts,
    context,
    contract,
    decisions,
    escalations,
    facts,
    imports,
    insights,
    learnings,
    me,
    observations,
    search,
    tasks,
)
from memoryhub.core.fields import in_address


class _KeyConverter:
    def to_python(self, value: str) -> str:
        return value

    to_url = to_python


class TaskKeyConverter(_KeyConverter):
    regex = in_address("task")


class FactKeyConverter(_KeyConverter):
    regex = in_address("fact")


register_converter(TaskKeyConverter, "task_key")
register_converter(FactKeyConverter, "fact_key")

urlpatterns = [
    # What is asked most stands first: they are tried in order.
    path("observations", observations.Observations.as_view()),
    path("observations/batch", observations.ObservationBatch.as_view()),
    path("observations/<uuid:observation_id>", observations.OneObservation.as_view()),
    path("observations/<uuid:observation_id>/pin", observations.PinObservation.as_view()),
    path("observations/<uuid:observation_id>/unpin", observations.UnpinObservation.as_view()),
    path("openapi.json", contract.Document.as_view()),
    path("docs", contract.Docs.as_view()),
    path("me", me.Me.as_view()),
    path("agents", me.Agents.as_view()),
    path("tasks", tasks.Tasks.as_view()),
    path("tasks/claim-next", tasks.ClaimNext.as_view()),
    path("tasks/<task_key:key>", tasks.OneTask.as_view()),
    path("tasks/<task_key:key>/context", context.TaskContext.as_view()),
    path("tasks/<task_key:key>/claim", tasks.ClaimTask.as_view()),
    path("tasks/<task_key:key>/renew", tasks.RenewTask.as_view()),
    path("tasks/<task_key:key>/release", tasks.ReleaseTask.as_view()),
    path("tasks/<task_key:key>/complete", tasks.CompleteTask.as_view()),
    path("tasks/<task_key:key>/fail", tasks.FailTask.as_view()),
    path("tasks/<task_key:key>/reopen", tasks.ReopenTask.as_view()),
    path("decisions", decisions.Decisions.as_view()),
    path("decisions/<uuid:decision_id>", decisions.OneDecision.as_view()),
    path("decisions/<uuid:decision_id>/supersede", decisions.SupersedeDecision.as_view()),
    path("decisions/<uuid:decision_id>/revoke", decisions.RevokeDecision.as_view()),
    path("decisions/<uuid:decision_id>/outcome", decisions.DecisionOutcome.as_view()),
    path("learnings", learnings.Learnings.as_view()),
    path("learnings/relevant", learnings.FindRelevant.as_view()),
    path("learnings/<uuid:learning_id>", learnings.OneLearning.as_view()),
    path("alerts", alerts.Alerts.as_view()),
    path("alerts/<uuid:alert_id>", alerts.OneAlert.as_view()),
    path("alerts/<uuid:alert_id>/acknowledge", alerts.AcknowledgeAlert.as_view()),
    path("facts", facts.Facts.as_view()),
    path("facts/read", facts.ReadFacts.as_view()),
    path("facts/<fact_key:key>", facts.OneFact.as_view()),
    path("facts/<fact_key:key>/history", facts.History.as_view()),
    path("search", search.Search.as_view()),
    path("escalations", escalations.Escalations.as_view()),
    path("escalations/<uuid:escalation_id>", escalations.OneEscalation.as_view()),
    path("escalations/<uuid:escalation_id>/notes", escalations.EscalationNotes.as_view()),
    path("escalations/<uuid:escalation_id>/package", escalations.ReadPackage.as_view()),
    path("escalations/<uuid:escalation_id>/acknowledge", escalations.Acknowledge.as_view()),
    path("escalations/<uuid:escalation_id>/cancel", escalations.Cancel.as_view()),
    path("insights", insights.Insights.as_view()),
    path("import/trajectories", imports.Trajectories.as_view()),
    re_path("^(?:tasks|facts)/(?s:.)", addresses.refuse),
]
