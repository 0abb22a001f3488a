"""The harness's own failures, as opposed to those of the command it runs."""

NOT_BOOTED = 125
TIMED_OUT = 124


class Failure(Exception):
    """Ends the run with `status`; the message says why, in one line."""

    def __init__(self, message, status=NOT_BOOTED):
        super().__init__(message)
        self.status = status


class Interrupted(Failure):
    """A signal ended the run; everything is still taken down in order."""

    def __init__(self, number):
        super().__init__(f"ended by signal {number}", 128 + number)
