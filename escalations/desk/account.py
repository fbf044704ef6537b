"""A person's account: signing in and out, and changing the password."""

from typing import Any, ClassVar, cast

import structlog
from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import authenticate, update_session_auth_hash
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView, RedirectURLMixin
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from django.views.generic import FormView

from memoryhub.core import guessing, people
from memoryhub.core.actions import people as accounts
from memoryhub.core.errors import HubError, Invalid, RateLimited
from memoryhub.core.models import SYSTEM_TEAM, Actor, SignInRecord, Team
from memoryhub.core.viewers import Viewer, system_viewer
from memoryhub.interface.pages.base import refuse, refuse_keys, sign_in, wants_json
from memoryhub.interface.pages.browsers import address_of, known_as, remember

log = structlog.get_logger(__name__)
Kind = SignInRecord.Kind

# What Clear-Site-Data (W3C) removes at sign-out: what pages have stored in the browser. The session's cookie goes
# anyway; those of a known browser stay, or strangers' failures would delay its person again.
FORGET = '"cache", "storage"'


def check(request: HttpRequest, username: str, password: str) -> Actor | None:
    """The person with this name and password, or None. Raises RateLimited before anything is hashed."""
    address = address_of(request)
    try:
        attempt = guessing.begin(username, address, browser=known_as(request, username))
    except RateLimited:
        people.record(Kind.DELAY, username, address)
        raise
    found = authenticate(request, username=username, password=password)
    if not isinstance(found, Actor):
        people.record(Kind.FAILURE, username, address)
        return None
    attempt.succeed()
    return found


class SignInForm(AuthenticationForm):
    """Django's, which counts each attempt before it checks it."""

    def clean(self) -> dict[str, Any]:
        username, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if self.request is not None and username and password:
            self.user_cache = check(self.request, username, password)
            if self.user_cache is None:
                raise self.get_invalid_login_error()
        return self.cleaned_data


class SignIn(LoginView):
    """The sign-in page."""

    redirect_authenticated_user = True
    form_class = SignInForm

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            response = super().dispatch(request, *args, **kwargs)
        except RateLimited as error:
            response = refuse(request, error) if wants_json(request) else self._delayed(error)
        except (DatabaseError, InterfaceError) as error:
            return refuse(request, error)
        response["Cache-Control"] = "no-store"
        return response

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        response = super().form_valid(form)
        person = form.get_user()
        assert isinstance(person, Actor)
        people.record(Kind.SIGN_IN, person.username, address_of(self.request))
        remember(self.request, response, person)
        return response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        typed = self.request.POST.get("username", "")[:150]
        return super().get_context_data(**kwargs) | {"username": typed, "longest": settings.SIGNIN_LONGEST_DELAY}

    def _delayed(self, error: RateLimited) -> HttpResponse:
        """The page again, with the name that was typed, and how long to wait."""
        context = self.get_context_data(form=SignInForm(self.request), delayed=error.detail)
        response = self.render_to_response(context, status=error.status)
        response.render()  # type: ignore[attr-defined]
        response["Retry-After"] = error.headers["Retry-After"]
        return response


class SignOut(LogoutView):
    """Ends the session, and clears what the browser has stored of it."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> TemplateResponse:
        if request.user.is_authenticated:
            people.record(Kind.SIGN_OUT, request.user.get_username(), address_of(request))
        response = cast(TemplateResponse, super().post(request, *args, **kwargs))
        response["Clear-Site-Data"] = FORGET
        return response


class PasswordForm(forms.Form):
    """The present password, and the new one twice."""

    MOST: ClassVar[int] = 200

    old_password = forms.CharField(max_length=MOST, strip=False)
    new_password1 = forms.CharField(max_length=MOST, strip=False)
    new_password2 = forms.CharField(max_length=MOST, strip=False)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        first, again = cleaned.get("new_password1"), cleaned.get("new_password2")
        if first and again and first != again:
            self.add_error("new_password2", "The two new passwords differ.")
        return cleaned


@method_decorator(sensitive_post_parameters(), name="dispatch")
class ChangePassword(RedirectURLMixin, FormView):
    """One's own password: also for people without a team; with a first password, the only page that is open."""

    form_class = PasswordForm
    template_name = "registration/password.html"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            refuse_keys(request)
            if not isinstance(request.user, Actor):
                return sign_in(request)
            self.person = request.user
            response = super().dispatch(request, *args, **kwargs)
        except (HubError, DatabaseError, InterfaceError) as exc:
            return refuse(request, exc)
        response["Cache-Control"] = "no-store"
        return response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        first = self.person.must_change_password
        return super().get_context_data(**kwargs) | {
            "is_first": first,
            "person": self.person,
            "next": self.get_redirect_url(),
        }

    def form_valid(self, form: PasswordForm) -> HttpResponse:
        old, new = form.cleaned_data["old_password"], form.cleaned_data["new_password1"]
        try:
            found = check(self.request, self.person.username, old)
        except RateLimited as error:
            return self._refused(form, "old_password", error)
        if found is None or found.pk != self.person.pk:
            return self._refused(form, "old_password", Invalid("This is not your present password."))
        if new == old:
            return self._refused(form, "new_password1", Invalid("Choose another password than the present one."))
        try:
            accounts.change_own_password(_installation(), person=self.person, password=new)
        except Invalid as error:
            return self._refused(form, "new_password1", error)
        # A session is bound to the hash of the password: this one continues with the new hash, all others have ended.
        update_session_auth_hash(self.request, self.person)
        messages.success(self.request, "Your password is changed. Other sessions of yours have ended.")
        response = redirect(self.get_redirect_url() or settings.LOGIN_REDIRECT_URL)
        remember(self.request, response, self.person)
        return response

    def form_invalid(self, form: PasswordForm) -> HttpResponse:
        if wants_json(self.request):
            raise Invalid(" ".join(str(error) for errors in form.errors.values() for error in errors))
        return super().form_invalid(form)

    def _refused(self, form: PasswordForm, field: str, error: HubError) -> HttpResponse:
        if wants_json(self.request):
            raise error
        form.add_error(field, error.detail)
        response = self.render_to_response(self.get_context_data(form=form))
        if isinstance(error, RateLimited):
            response.status_code = error.status
            response["Retry-After"] = error.headers["Retry-After"]
        return response


def _installation() -> Viewer:
    """The system's viewer in the installation's own team, whose ledger records the accounts."""
    return system_viewer(Team.objects.get(slug=SYSTEM_TEAM).id)
