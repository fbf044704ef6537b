"""The desk's addresses: pages, and people's verbs."""

from django.urls import path

from escalations.desk import account, drafts, pages, verbs

urlpatterns = [
    path("", pages.QueuePage.as_view(), name="queue"),
    path("login/", account.SignIn.as_view(), name="login"),
    path("logout/", account.SignOut.as_view(), name="logout"),
    path("account/password/", account.ChangePassword.as_view(), name="password"),
    path("team/", pages.SwitchTeam.as_view(), name="team"),
    path("escalations/next", verbs.Next.as_view(), name="next"),
    path("escalations/<uuid:escalation_id>/", pages.CasePage.as_view(), name="case"),
    path("escalations/<uuid:escalation_id>/panel/", pages.CasePanel.as_view(), name="panel"),
    path("escalations/<uuid:escalation_id>/arguments/", pages.ArgumentsPage.as_view(), name="arguments"),
    path("escalations/<uuid:escalation_id>/task-data/", pages.TaskDataPage.as_view(), name="task-data"),
    path("escalations/<uuid:escalation_id>/drafts/", drafts.Drafts.as_view(), name="drafts"),
    path("escalations/<uuid:escalation_id>/draft", drafts.KeepDraft.as_view(), name="draft"),
    path("escalations/<uuid:escalation_id>/timeline/", pages.TimelinePage.as_view(), name="timeline"),
    path("escalations/<uuid:escalation_id>/items/<uuid:item_id>/", pages.ItemPage.as_view(), name="item"),
    *[path(f"escalations/<uuid:escalation_id>/{name}", view, name=name) for name, view in verbs.VERBS.items()],
]
