"""What the link of a forgotten password opens: a new one."""

from lib import portal_passwords
from pages.portal.shared import passwords

passwords.draw(
    "New password",
    "password_reset",
    portal_passwords.reset,
    button="Set new password",
    done="Your new password is set, and you are signed out everywhere. Sign in with it.",
)
