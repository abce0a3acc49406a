"""The process that a third party's provider runs in: `python -m … NAME QUESTIONS ANSWERS` (descriptors of sockets).

The first message has the factory's arguments. It ends when its caller does.
"""

import asyncio
import contextlib
import os
import socket
import sys
import threading
from dataclasses import replace
from typing import Any

from hypernetes.providers import loading
from hypernetes.providers.network.base import NetworkError, PluggedPort
from hypernetes.providers.network.hosted.messages import Answer, Closed, Hello, Question, receive, send

_MESSAGE_CHARACTERS = 500


class Host:
    def __init__(self, provider: Any, questions: socket.socket, answers: socket.socket) -> None:
        self._provider, self._questions, self._answers = provider, questions, answers
        self._calls: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Until the caller is gone; then nothing is waited for, as the provider may be in the middle of anything."""
        loop = asyncio.get_running_loop()

        def listen() -> None:
            with contextlib.suppress(Closed, OSError):
                while True:
                    question, _ = receive(self._questions)
                    loop.call_soon_threadsafe(self._take, question)
            os._exit(0)

        threading.Thread(target=listen, daemon=True).start()
        await asyncio.Event().wait()

    def _take(self, question: Question) -> None:
        if question.method:
            task = asyncio.ensure_future(self._answer(question))
            self._calls[question.number] = task
            task.add_done_callback(lambda _: self._calls.pop(question.number, None))
        elif question.number in self._calls:
            self._calls[question.number].cancel()

    async def _answer(self, question: Question) -> None:
        descriptors: list[int] = []
        try:
            value = getattr(self._provider, question.method)(*question.arguments, **dict(question.named))
            if asyncio.iscoroutine(value):
                value = await value
            if isinstance(value, PluggedPort):
                descriptors, value = [value.tap_fd], replace(value, tap_fd=-1)
            answer = Answer(question.number, value)
        except NetworkError as error:
            answer = Answer(question.number, None, error.reason, error.message)
        except asyncio.CancelledError:
            answer = Answer(question.number, None, "ProviderSilent", "the call was cancelled")
        except Exception as error:  # noqa: BLE001  it is a stranger's, and its caller hears of it
            answer = Answer(question.number, None, "ProviderFailed", repr(error)[:_MESSAGE_CHARACTERS])
        try:
            send(self._answers, answer, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


def main() -> None:
    name, *descriptors = sys.argv[1:]
    questions, answers = (socket.socket(fileno=int(each)) for each in descriptors)
    try:
        arguments, _ = receive(questions)
        provider = loading.entry("network", name).load()(**arguments)
    except Closed:
        return
    except (loading.NoSuchProviderError, ValueError, ImportError, AttributeError) as error:
        send(answers, Hello(complaint=str(error)), [])
        return
    send(answers, Hello(bool(provider.binds_ports)), [])
    asyncio.run(Host(provider, questions, answers).run())


if __name__ == "__main__":
    main()
