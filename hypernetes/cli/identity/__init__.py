"""`hn login` and `hn credential`: kubectl as somebody whom Keystone knows.

    hn login  ── asks the API server which tenant one's project is ──► a context in the kubeconfig, which names
    kubectl   ── runs, whenever it needs a token ──► hn credential ──► the token, from the cache or from Keystone

    settings.py         what the variables OS_… and clouds.yaml say, and under which name its token is cached
    tokens.py           a token of Keystone's: made, checked, renewed
    tokencache.py       tokens on disk
    execcredential.py   what kubectl is given (pure)
    login.py            the tenant, and the kubeconfig
    commands.py, credential.py    the two commands

OpenStack's libraries are imported where they are used: a cached token needs none of them.
"""
