"""What an invite's link opens: the person sets a password, and has registered (row G4)."""

from lib import portal_passwords
from pages.portal.shared import passwords

passwords.draw(
    "Welcome to the customer portal",
    "invite",
    portal_passwords.accept,
    button="Set password",
    done="Your password is set. Sign in with your e-mail address and this password.",
)
