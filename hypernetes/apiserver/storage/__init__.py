"""The store: keys to bytes, one revision per write. `base` is the promise, `sqlite` and `etcd` keep it."""
