"""The one exception that is the user's to mend: shown as one line, never as a stack trace."""


class UserError(Exception):
    """Bad input from the user. The message is one line that names the file, row or option, and the mend."""
