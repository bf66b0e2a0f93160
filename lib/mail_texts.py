"""The mails' texts as they are delivered, in German and English; Settings → Mail templates changes them."""

# kind → language → subject and body. What stands in braces is filled in; see `mail_templates.KINDS`.
DEFAULTS: dict[str, dict[str, tuple[str, str]]] = {
    "invite": {
        "de": (
            "Ihr Zugang zum Kundenportal von {company}",
            """{greeting}

für {customer} wurde ein Zugang zum Kundenportal von {company} eingerichtet. Bitte wählen Sie hier Ihr Passwort:

{link}

Der Link gilt bis {valid_until} und nur ein Mal.

Mit freundlichen Grüßen
{company}""",
        ),
        "en": (
            "Your access to the customer portal of {company}",
            """{greeting}

an account in the customer portal of {company} was set up for {customer}. Please choose your password here:

{link}

The link works once, until {valid_until}.

Kind regards
{company}""",
        ),
    },
    "password_reset": {
        "de": (
            "Neues Passwort für das Kundenportal von {company}",
            """{greeting}

jemand möchte für Ihren Zugang zum Kundenportal ein neues Passwort setzen. Waren Sie das, dann öffnen Sie bitte:

{link}

Der Link gilt bis {valid_until} und nur ein Mal. Waren Sie es nicht, ist nichts zu tun: Ihr Passwort bleibt, wie es ist.

Mit freundlichen Grüßen
{company}""",
        ),
        "en": (
            "New password for the customer portal of {company}",
            """{greeting}

somebody asked for a new password for your account in the customer portal. If it was you, please open:

{link}

The link works once, until {valid_until}. If it was not you, nothing needs to be done: your password stays as it is.

Kind regards
{company}""",
        ),
    },
    "registration": {
        "de": (
            "Bitte bestätigen Sie Ihre Registrierung bei {company}",
            """{greeting}

{customer} wurde mit dieser E-Mail-Adresse bei {company} registriert. Bitte bestätigen Sie die Adresse:

{link}

Der Link gilt bis {valid_until} und nur ein Mal. Haben Sie sich nicht registriert, ist nichts zu tun.

Mit freundlichen Grüßen
{company}""",
        ),
        "en": (
            "Please confirm your registration with {company}",
            """{greeting}

{customer} was registered with {company} under this e-mail address. Please confirm the address:

{link}

The link works once, until {valid_until}. If you did not register, nothing needs to be done.

Kind regards
{company}""",
        ),
    },
    "registration_known": {
        "de": (
            "Ihr Zugang zum Kundenportal von {company}",
            """{greeting}

jemand wollte sich mit dieser E-Mail-Adresse bei {company} registrieren. Sie ist dort schon bekannt, deshalb wurde \
nichts angelegt. Waren Sie es, dann melden Sie sich bitte hier an, oder setzen Sie dort ein neues Passwort:

{portal}

Wurden Sie eingeladen, so öffnen Sie den Link in der Einladung. Waren Sie es nicht, ist nichts zu tun.

Mit freundlichen Grüßen
{company}""",
        ),
        "en": (
            "Your access to the customer portal of {company}",
            """{greeting}

somebody tried to register with {company} under this e-mail address. It is known there already, so nothing was \
added. If it was you, please sign in here, or set a new password there:

{portal}

If you were invited, open the link in the invite. If it was not you, nothing needs to be done.

Kind regards
{company}""",
        ),
    },
    "invoice": {
        "de": (
            "{document} {number} von {company}",
            """{greeting}

im Anhang finden Sie die {document} {number} vom {date} über {amount} {currency} für {customer}.

{payment}

Mit freundlichen Grüßen
{company}""",
        ),
        "en": (
            "{document} {number} from {company}",
            """{greeting}

please find attached {document} {number} of {date} for {customer}, {amount} {currency} in total.

{payment}

Kind regards
{company}""",
        ),
    },
    "erased": {
        "de": (
            "Ihre Daten bei {company} sind gelöscht",
            """{greeting}

die Daten von {customer} bei {company} wurden am {date} gelöscht.

{kept}

Mit freundlichen Grüßen
{company}""",
        ),
        "en": (
            "Your data at {company} are erased",
            """{greeting}

the data of {customer} at {company} were erased on {date}.

{kept}

Kind regards
{company}""",
        ),
    },
    "price_notice": {
        "de": (
            "Neue Preise ab {valid_from}",
            """{greeting}

ab {valid_from} gelten für {customer} neue Preise:

{prices}

Mit freundlichen Grüßen
{company}""",
        ),
        "en": (
            "New prices from {valid_from}",
            """{greeting}

from {valid_from} new prices apply to {customer}:

{prices}

Kind regards
{company}""",
        ),
    },
}

# How a mail begins: to somebody whose name is known, and to a company.
GREETINGS = {
    "de": ("Guten Tag {name},", "Guten Tag,"),
    "en": ("Hello {name},", "Hello,"),
}

# What an invoice that is to be paid says in {payment}; other documents say nothing there.
PAYMENT = {
    "de": "Bitte überweisen Sie den Betrag bis zum {due}.",
    "en": "Please transfer the amount by {due}.",
}
# The same for who pays otherwise than by transfer: by language and payment method.
PAYMENT_OTHERWISE = {
    ("de", "direct_debit"): "Wir ziehen den Betrag zum {due} per SEPA-Lastschrift von Ihrem Konto ein.",
    ("en", "direct_debit"): "We collect the amount from your account by SEPA direct debit on {due}.",
    ("de", "card"): "Wir buchen den Betrag von Ihrer Kreditkarte ab.",
    ("en", "card"): "We charge the amount to your credit card.",
    ("de", "free"): "Für Ihr Kundenkonto ist keine Zahlung vereinbart: Bitte zahlen Sie darauf nichts.",
    ("en", "free"): "No payment is agreed for your account: please pay nothing on it.",
}
