"""A candidate for a lease, by the official client's leader election: says so when it leads.

python candidate.py KUBECONFIG LOCK IDENTITY
"""

import sys

from kubernetes import config
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

# Seconds; the shortest that the client accepts.
_LEASE, _RENEW_DEADLINE, _RETRY = 3, 2, 1


def main() -> None:
    kubeconfig, lock, identity = sys.argv[1:]
    config.load_kube_config(config_file=kubeconfig)
    election = electionconfig.Config(
        LeaseLock(lock, "default", identity), lease_duration=_LEASE, renew_deadline=_RENEW_DEADLINE,
        retry_period=_RETRY, onstarted_leading=lambda: print(f"{identity} leads", flush=True),
        onstopped_leading=lambda: print(f"{identity} no longer leads", flush=True),
    )  # fmt: skip
    leaderelection.LeaderElection(election).run()


if __name__ == "__main__":
    main()
