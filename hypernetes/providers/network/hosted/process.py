"""One run of the process that a provider is in: questions go out, a thread brings the answers back."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hypernetes.providers.network.base import NetworkError
from hypernetes.providers.network.hosted.messages import Answer, Closed, Hello, Question, packed, receive

START_SECONDS = 30.0
CANCEL_SECONDS = 3.0  # that a call may take to end once it is cancelled
_HOST = "hypernetes.providers.network.hosted.host"

Told = tuple[Any, list[int]]


class HostProcess:
    def __init__(self, name: str, arguments: Mapping[str, Any]) -> None:
        """Starts it, and blocks until the provider is made. Raises ValueError where it can't be, with its words."""
        self.name = name
        self._questions, far_questions = socket.socketpair()
        self._answers, far_answers = socket.socketpair()
        with far_questions, far_answers:
            descriptors = (far_questions.fileno(), far_answers.fileno())
            self._process = subprocess.Popen(
                [sys.executable, "-m", _HOST, name, *map(str, descriptors)],
                stdin=subprocess.DEVNULL, pass_fds=descriptors, start_new_session=True,
            )  # fmt: skip
        self._number, self._waiting = 0, dict[int, asyncio.Future[Told]]()
        self._turn = asyncio.Lock()
        try:
            self._questions.sendall(packed(dict(arguments)))
            self._answers.settimeout(START_SECONDS)
            hello, _ = receive(self._answers)
            self._answers.settimeout(None)
        except (Closed, OSError) as error:
            self.end()
            raise ValueError(f"the network provider {name} ended or hung as it was made: {error!r}") from error
        if not isinstance(hello, Hello) or hello.complaint:
            self.end()
            raise ValueError(hello.complaint if isinstance(hello, Hello) else "the network provider speaks otherwise")
        self.binds_ports = hello.binds_ports
        self._questions.setblocking(False)
        self._listening = False

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    async def ask(self, seconds: float, method: str, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
        """Raises NetworkError. A caller that is cancelled cancels the call there."""
        loop = asyncio.get_running_loop()
        if not self._listening:
            self._listening = True
            threading.Thread(target=self._listen, args=(loop,), daemon=True).start()
        self._number += 1
        number, answered = self._number, loop.create_future()
        self._waiting[number] = answered
        try:
            async with asyncio.timeout(seconds):
                await self._send(Question(number, method, arguments, tuple(named.items())))
                return _value(self.name, method, *await asyncio.shield(answered))
        except TimeoutError:
            await self._cancel(number, answered)
            message = f"the network provider {self.name} gave no answer to {method} within {seconds:g} s"
            raise NetworkError("ProviderSilent", f"{message}; it is asked again") from None
        except asyncio.CancelledError:
            await asyncio.shield(self._cancel(number, answered))
            raise
        except OSError as error:
            raise self._exited() from error
        finally:
            self._waiting.pop(number, None)

    async def _cancel(self, number: int, answered: "asyncio.Future[Told]") -> None:
        """Where the provider doesn't let the call end, the process does."""
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                await self._send(Question(number))
                _, descriptors = await asyncio.shield(answered)
            for descriptor in descriptors:
                os.close(descriptor)
        except (TimeoutError, OSError):
            self.end()
        except NetworkError:
            return

    async def _send(self, question: Question) -> None:
        async with self._turn:
            await asyncio.get_running_loop().sock_sendall(self._questions, packed(question))

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while True:
                message, descriptors = receive(self._answers)
                loop.call_soon_threadsafe(self._take, message, descriptors)
        except Exception:  # noqa: BLE001  nonsense is as good as an end
            self.end()
            with contextlib.suppress(RuntimeError):  # the loop is gone as well
                loop.call_soon_threadsafe(self._give_up)

    def _take(self, answer: Answer, descriptors: list[int]) -> None:
        waiting = self._waiting.get(answer.number)
        if waiting is not None and not waiting.done():
            waiting.set_result((answer, descriptors))
            return
        for descriptor in descriptors:
            os.close(descriptor)

    def _give_up(self) -> None:
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(self._exited())
                waiting.exception()  # also of a question that nobody waits for any more

    def _exited(self) -> NetworkError:
        text = f"the process of the network provider {self.name} ended (exit code {self._process.poll()})"
        return NetworkError("ProviderExited", f"{text}; it is started again")

    def end(self) -> None:
        """Twice is no error."""
        if self._process.poll() is None:  # else its number may be another's by now
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # with what it has started
        self._process.wait()
        for each in (self._questions, self._answers):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def _value(name: str, method: str, answer: Answer, descriptors: list[int]) -> Any:
    if answer.reason == "ProviderFailed":
        raise NetworkError(answer.reason, f"the network provider {name} failed in {method}: {answer.message}")
    if answer.reason:
        raise NetworkError(answer.reason, answer.message)
    return replace(answer.value, tap_fd=descriptors[0]) if descriptors else answer.value
