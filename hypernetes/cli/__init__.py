"""hn: starts and stops a cluster, makes tenants, says what is wrong.

    main.py         the commands
    layout.py       what lies where under DIR, and cluster.json
    preflight.py    why a cluster can't start here, one sentence each
    programs.py     the processes of a cluster and their command lines (pure)
    processes.py    one process kept running: start, restart with back-off, stop
    supervisor.py   all of them in order, until they are told to stop
    credentials.py  certificates and kubeconfigs, made and renewed
    readiness.py    waits for the API server and the nodes
    up.py, down.py  `hn up` (in front or detached) and `hn down`
    leftovers.py    what a cluster leaves on the host: machines, networks
    tenants.py, nodes.py, status.py, doctor.py   the other commands
    progress.py     says what takes long

Every failure a user can cause is one sentence that says what to do next, and exit code 1.
"""
