"""The exception for errors the user can fix: a wrong file, field or setting."""


class InputError(ValueError):
    """A wrong input; the message is one sentence that names it and says what to do.

    Commands print the message alone and exit with status 1. Any other exception is a bug and keeps
    its traceback.
    """


# Characters of another error's message that a sentence shows.
_SHOWN = 200


def reason(error: BaseException) -> str:
    """Returns another error's message for use in a sentence: one line, not too long.

    Messages of libraries may quote whole files.
    """
    message = " ".join(str(error).split()) or type(error).__name__
    return message if len(message) <= _SHOWN else f"{message[:_SHOWN]}..."
