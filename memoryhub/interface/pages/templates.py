"""Django's templates, with contexts that are freed after rendering.

Django's own context is in a reference cycle (a ContextDict refers to the context that holds it), which would keep all
rows of a page until the cyclic garbage collector runs.
"""

from typing import Any

from django.http import HttpRequest
from django.template import TemplateDoesNotExist
from django.template.backends.django import DjangoTemplates, Template, reraise
from django.template.context import make_context


class Templates(DjangoTemplates):
    """The engine, for TEMPLATES."""

    def from_string(self, template_code: str) -> "Rendered":
        return Rendered(super().from_string(template_code).template, self)

    def get_template(self, template_name: str) -> "Rendered":
        return Rendered(super().get_template(template_name).template, self)


class Rendered(Template):
    """One template."""

    def render(self, context: dict[str, Any] | None = None, request: HttpRequest | None = None) -> Any:
        """The text. Raises TemplateDoesNotExist for an included template."""
        made = make_context(context, request, autoescape=self.backend.engine.autoescape)
        try:
            return self.template.render(made)
        except TemplateDoesNotExist as error:
            reraise(error, self.backend)
            raise
        finally:
            made.dicts.clear()
