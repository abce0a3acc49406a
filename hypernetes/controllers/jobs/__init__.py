"""Jobs (batch/v1): pods that are to succeed a number of times.

    job, its pods, now ──► plan.decide ──► status ─► finalizers off ─► deletions ─► creations     (controller.py)
                              ├─ tally.py      which pods count how, each exactly once
                              ├─ failures.py   podFailurePolicy, back-off
                              ├─ verdict.py    has the Job failed or succeeded
                              ├─ wanted.py     which pods to make, which to delete
                              └─ indexes.py    sets of completion indexes as text

**Each pod counts once**, whatever crashes: its tracking finalizer keeps it until it is counted. A finished pod's UID is
written into status.uncountedTerminatedPods first, then its finalizer is taken off, and once that is seen the UID
becomes a number. Succeeded pods of an Indexed Job need no such list: their index is in status.completedIndexes.
"""

from hypernetes.controllers.jobs.controller import Jobs

__all__ = ["Jobs"]
