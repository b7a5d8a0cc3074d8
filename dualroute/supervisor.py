"""Processes that live and die together.

A `Family` is a process group of its own, and everything that is started through it is born into that group, as are
the workers and reloaders that those processes start in turn.  The group is led by a *guard*: a tiny process that does
nothing but read a pipe whose other end only the supervisor holds.

    supervisor (foreground: gets the Ctrl-C)
        ├── guard       leads the group, waits for the pipe to close
        ├── uvicorn  ┐
        │   └── …    │  in the guard's group
        └── gunicorn │
            └── …    ┘

- A terminal sends Ctrl-C to the foreground group alone, so the servers are stopped by the supervisor and by nobody
  else: once, in order, and within a bound.
- However the supervisor goes, SIGKILL included, the pipe closes and the guard ends the group.  There is no moment at
  which a process exists and isn't covered: between fork and exec it holds a copy of the pipe's end, and it has joined
  the group before exec lets go of it.
- The guard isn't waited for before the group has been killed, so the group's number can't have been taken by others.

This file is also the guard's program, run by its path in an isolated interpreter that imports nothing else of ours.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

__all__ = ["Family", "ProcessEnded", "StopRequested"]

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ORPHANS_GRACE = 2.0
ECHO = 0.5


class StopRequested(Exception):
    """The supervisor was told to stop: Ctrl-C, SIGTERM, or the terminal was closed."""


class ProcessEnded(Exception):
    """A process that was to go on ended by itself.

    Args:
        name: which one.
        code: its exit code, or the negative number of the signal that killed it.
    """

    def __init__(self, name: str, code: int) -> None:
        super().__init__(f"{name} {ending(code)}")
        self.name = name
        self.code = code


class Family:
    """A context inside which processes are started, watched, and ended together.

    Args:
        grace: how many seconds they have between being asked to stop and being killed.

    Entered in the main thread, since it takes over the stop signals: `pause`, and whatever is built on it, raises
    `StopRequested` when one arrives.  When the context is left, no process of the group is alive.
    """

    def __init__(self, *, grace: float = 10.0) -> None:
        self.grace = grace
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._stopping: float | None = None
        self._hurry = False

    def __enter__(self) -> Family:
        # Each signal becomes a byte in this socket pair, so that one select() waits for signals and sockets alike and
        # nothing is ever interrupted half-way.
        self._signals, self._wakeup = socket.socketpair()
        self._signals.setblocking(False)
        self._wakeup.setblocking(False)
        self._old_wakeup = signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        self._old_handlers: dict[signal.Signals, Any] = {}
        for number in (*STOP_SIGNALS, signal.SIGCHLD):
            # Under nohup SIGHUP is ignored, and stays so.
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                self._old_handlers[number] = signal.signal(number, _noted)
        self._guard = subprocess.Popen(
            # -I, so that the modules beside this file can't be taken for the standard library's.
            [sys.executable, "-I", "-S", os.path.abspath(__file__)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.killpg(self._guard.pid, signal.SIGKILL)
        for process in (*self._processes.values(), self._guard):
            process.wait()
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_wakeup)
        self._signals.close()
        self._wakeup.close()

    def start(self, name: str, command: Sequence[str]) -> None:
        """Start a process that is to run until it is stopped.

        Args:
            name: how messages name it.
            command: the program and its arguments.
        """
        self._processes[name] = self._spawn(command)

    def run(self, command: Sequence[str]) -> tuple[str, int]:
        """Run a process that answers with one line, and return that line (or "") and the exit code.

        The line is not taken from stdout, which belongs to whatever code the process imports, but from a pipe of its
        own, whose number is appended to `command`.
        """
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        answer = b""
        try:
            process = self._spawn([*command, str(writer)], pass_fds=(writer,))
            os.close(writer)
            try:
                # The process's end is looked for as well as the pipe's: a child of its own may keep the pipe open.
                while not answer.endswith(b"\n"):
                    ended = process.poll() is not None
                    try:
                        data = os.read(reader, 65536)
                    except BlockingIOError:
                        if ended:
                            break
                        self.pause(None, reader)
                        continue
                    if not data:
                        break
                    answer += data
                deadline = time.monotonic() + 2
                while process.poll() is None and time.monotonic() < deadline:
                    self.pause(deadline - time.monotonic())
            finally:
                # It has answered; a thread that it left running is no reason to wait.
                process.kill()
                process.wait()
        finally:
            os.close(reader)
        return answer.decode(), process.returncode

    def wait_until_served(self, host: str, port: int) -> None:
        """Return when connections to the address are accepted by a server that is ready to answer.

        A connection alone proves little, as the kernel takes it for any listening socket.  So the connection is
        half-closed, and whoever has really accepted it closes the other half: no request is made and none is logged.

        Raises ProcessEnded or StopRequested where that comes first.
        """
        while True:
            self.check()
            try:
                with socket.create_connection((host, port), timeout=1) as connection:
                    connection.shutdown(socket.SHUT_WR)
                    while not self.pause(None, connection.fileno()):
                        self.check()
                    connection.recv(1)
                    return
            except OSError:
                self.pause(0.05)

    def watch(self) -> None:
        """Wait until a process ends (ProcessEnded) or a stop is asked for (StopRequested)."""
        while True:
            self.check()
            self.pause(None)

    def check(self) -> None:
        """Raise ProcessEnded, once for each process, if one has ended."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                del self._processes[name]
                raise ProcessEnded(name, process.returncode)

    def stop(self) -> None:
        """Ask every process to stop, and wait until they have, within the bound.

        A Ctrl-C in the meantime cuts the wait short.  What is still alive is killed when the context is left.
        """
        if self._stopping is None:
            self._stopping = time.monotonic()
        deadline = self._stopping + self.grace
        for process in self._processes.values():
            process.terminate()
        while not self._hurry and any(process.poll() is None for process in self._processes.values()):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            self.pause(left)

    def pause(self, timeout: float | None, *readable: int) -> bool:
        """Wait for `timeout` seconds, a signal, a child's end, or data in one of the `readable` file descriptors.

        Returns whether there is data.  Raises StopRequested, once, when a stop is asked for.
        """
        signals = self._signals.fileno()
        ready, _, _ = select.select([signals, *readable], [], [], timeout)
        if signals in ready:
            ready.remove(signals)
            for number in self._signals.recv(4096):
                if number in STOP_SIGNALS:
                    self._stop_signal(number)
        return bool(ready)

    def _stop_signal(self, number: int) -> None:
        now = time.monotonic()
        if self._stopping is None:
            self._stopping = now
            raise StopRequested
        # One Ctrl-C may well arrive twice: from the terminal, and passed on by a wrapper such as `npm` or `uv run`.
        if number == signal.SIGINT and now - self._stopping > ECHO:
            self._hurry = True

    def _spawn(self, command: Sequence[str], *, pass_fds: Sequence[int] = ()) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            process_group=self._guard.pid,
            pass_fds=pass_fds,
            preexec_fn=_leave_terminal,  # noqa: PLW1509  # what it warns of is threads, and there are none here
        )


def ending(code: int) -> str:
    """Return how a process ended, in words."""
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _leave_terminal() -> None:
    """Give the controlling terminal up, in a child, so that it may write there without being in the foreground.

    Else a terminal set to ``stty tostop`` answers each line with SIGTTOU, which gunicorn takes for a command of its
    own, logs, and is answered for again.
    """
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return  # there is none
    try:
        fcntl.ioctl(terminal, termios.TIOCNOTTY)
    finally:
        os.close(terminal)


def _noted(number: int, frame: object) -> None:
    """Do nothing: that the signal came is in the wake-up socket."""


def _keep_guard() -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    while os.read(0, 1):
        pass
    # The supervisor is gone.  Its processes get a moment to leave properly, then the whole group goes, this one too.
    group = os.getpgrp()
    os.killpg(group, signal.SIGTERM)
    time.sleep(ORPHANS_GRACE)
    os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    _keep_guard()
