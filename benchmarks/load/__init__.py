"""What puts load on hn-apiserver and measures it from outside: processes of their own, so that nothing shares a core
with the server by accident.

    servers.py   starts hn-apiserver, etcd and the sketch; CPU seconds and memory of each, from /proc
    pods.py      the object of which there are ten thousand
    wrk.py       requests as fast as they are answered (requests.lua runs inside wrk)
    watching.py  many watches: counts events and takes their delays
    patching.py  patches at a steady rate, each with the time at which it was sent
    sketch.py    the least that a server in this language does: the yardstick
"""
