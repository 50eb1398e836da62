"""`diecast notify`: notices of failed tasks and full disks."""

from __future__ import annotations

import argparse

from appliance.cli import show
from appliance.cli.command import JSON, Command
from appliance.cli.context import Context
from appliance.errors import ApplianceError, UsageError

UNHEALTHY = 69  # EX_UNAVAILABLE

_NOTES = """\
Mail: set notify.mail_host, mail_from, mail_to; where the server wants a name, mail_user too, and
  diecast setting set notify.mail_password --stdin
Webhook: set notify.webhook to its URL; where it wants a token,
  diecast setting set notify.webhook_token --stdin
Then restart the scheduler, which sends: diecast service restart scheduler
"""


def _test(context: Context, options: argparse.Namespace) -> int:
    """Send one test each way, now and from this process, whatever the scheduler does."""
    from appliance.services import notify

    settings = context.settings
    chosen = notify.ways(settings.notify)
    if not chosen:
        raise UsageError(
            "No notices are set up: notify.mail_host with notify.mail_to, and notify.webhook, are empty.",
            hint="Set them: diecast notify test --help",
        )
    message = notify.trial()
    answers = []
    for way, where in notify.way_names(chosen, settings.notify).items():
        answer = {"way": way, "where": where, "error": "", "remedy": ""}
        try:
            notify.send(way, settings, context.store, message)
        except ApplianceError as error:
            answer |= {"error": error.message, "remedy": error.hint}
        answers.append(answer)
    context.record("notify test", ", ".join(chosen))
    if options.json:
        context.say(show.as_json(answers))
    else:
        for answer in answers:
            said = f"{answer['error']} {answer['remedy']}".strip() or f"A test was taken for {answer['where']}."
            context.say(show.clean(f"{answer['way']}: {said}"))
    return UNHEALTHY if any(answer["error"] for answer in answers) else 0


COMMAND = Command(
    "notify",
    "notices of failed tasks and full disks, by mail and webhook",
    parts=(Command("test", "send a test notice every way that is set up", _test, (JSON,), notes=_NOTES),),
)
