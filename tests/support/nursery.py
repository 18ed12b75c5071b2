"""A process that has imported ddrs and forks children: they are there at once, and can be killed.

It is a process of its own because one that runs tests has threads, which a fork does not survive.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import traceback


class Nursery:
    """Children by their process id; none outlives it."""

    def __init__(self):
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.nursery"],
            env=os.environ | threads | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def fork(self, function, *arguments):
        """A child that calls a function of a module; it ends with 0, or with 1 if that raises."""
        return self._ask("fork", function.__module__, function.__name__, arguments)

    def wait(self, child):
        """How a child ended: its exit code, or minus the signal that killed it."""
        return self._ask("wait", child)

    def close(self):
        self._process.communicate()
        assert self._process.returncode == 0

    def _ask(self, *question):
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def main():
    for module in ("ddrs.memory.memory", "sqlalchemy.dialects.postgresql.psycopg", "psycopg"):
        importlib.import_module(module)
    children = set()
    for line in sys.stdin:
        command, *rest = json.loads(line)
        if command == "fork":
            answer = fork(*rest)
            children.add(answer)
        else:
            answer = os.waitstatus_to_exitcode(os.waitpid(rest[0], 0)[1])
            children.discard(rest[0])
        print(json.dumps(answer), flush=True)
    for child in children:
        os.kill(child, signal.SIGKILL)


def fork(module, function, arguments):
    target = getattr(importlib.import_module(module), function)
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        target(*arguments)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
