"""What is said of a container that has ended, beside how it did. Pure, but for reading the end of its log."""

from dataclasses import replace

from hypernetes.api.models.core_v1 import Pod
from hypernetes.nodeagent import sizing
from hypernetes.nodeagent.containers import Run, all_of
from hypernetes.nodeagent.logs import PodLogs


def explained(pod: Pod, name: str, run: Run, logs: PodLogs) -> tuple[Run, str]:
    """The run with a message, where it has none of its own, and a warning for the pod's owner ("": none).

    Of a container that failed it is what it wrote last, if its terminationMessagePolicy says so; of one that ran out of
    memory which it has by default, which field to set."""
    container = next((each for each in all_of(pod) if each.name == name), None)
    if container is None:
        return run, ""
    warning = sizing.why_out_of_memory(pod, container) if run.reason == "OOMKilled" else ""
    if container.termination_message_policy == "FallbackToLogsOnError" and run.exit_code and not run.message:
        run = replace(run, message=logs.last_words(run.id))
    return (run if run.message else replace(run, message=warning)), warning
