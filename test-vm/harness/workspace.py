"""Where a run keeps things: a folder in TMPDIR that goes with it, a console log that stays."""

import os
import shutil
import tempfile

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
BUILD = os.path.join(SOURCE, "build")
LOGS = os.path.join(BUILD, "test-vm")
KEPT_LOGS = 40


class Workspace:
    def __init__(self):
        os.makedirs(LOGS, exist_ok=True)
        self.folder = tempfile.mkdtemp(prefix="muster-boot-")
        self.console = os.path.join(LOGS, "console-%s.log" % os.path.basename(self.folder)[12:])
        with open(self.console, "wb"):
            pass
        self._link()
        if listing := os.environ.get("BOOT_CONSOLES"):  # for who runs several at once
            with open(listing, "a", encoding="utf-8") as out:
                out.write(self.console + "\n")
        self._forget_old_logs()

    def path(self, name):
        return os.path.join(self.folder, name)

    def _link(self):
        """console.log always names a log: a new link takes the old one's place."""
        new = self.console + ".link"
        os.symlink(os.path.basename(self.console), new)
        os.replace(new, os.path.join(LOGS, "console.log"))

    @staticmethod
    def _forget_old_logs():
        """Others may be doing the same."""
        logs = []
        for entry in os.scandir(LOGS):
            if entry.name.startswith("console-") and entry.is_file(follow_symlinks=False):
                try:
                    logs.append((entry.stat().st_mtime, entry.path))
                except FileNotFoundError:
                    pass
        for _, path in sorted(logs)[:-KEPT_LOGS]:
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass

    def tail(self, lines=40):
        """The end of the console, printable."""
        try:
            with open(self.console, "rb") as log:
                log.seek(max(0, os.fstat(log.fileno()).st_size - 200 * lines))
                text = log.read().decode("utf-8", "replace")
        except OSError:
            return ""
        text = "".join(c for c in text.replace("\r", "") if c == "\n" or c == "\t" or c >= " ")
        return "\n".join(text.rstrip().split("\n")[-lines:])

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)
