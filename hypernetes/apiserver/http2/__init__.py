"""HTTP/2: the requests of one client share a connection, and so do its watches.

    TLS ─► connection ─► frames, HPACK, states (library) ─► stream ─► aiohttp's request ─► the same path as HTTP/1.1
                 ▲                                             │
                 └────────── one write per turn of the loop ◄──┘ answers, events

`connection` is the asyncio protocol of one client, `states` the library's machine behind it, `output` what goes back;
`streams` is what handlers see (a request's protocol, transport and writer), `requests` reads a block of headers,
`allowances` says how much of what brings nothing a client may send. Upgrades (exec, attach, port-forward) stay with
HTTP/1.1, which those clients ask for.
"""
