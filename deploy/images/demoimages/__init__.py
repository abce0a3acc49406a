"""Small OCI images out of Debian packages, and a registry that serves them, with no daemon and no internet but apt's.

    recipes ──► packages (apt-get, dpkg-deb) ──► trees (what is kept, its libraries by elf) ──► layers ──► layout
                                                                                                            │
                                             server (docker-registry on 127.0.0.1) ◄── registry (push) ◄────┘

Under TCG each page of a program that is touched costs time, so an image holds what runs and nothing else: no package
manager, documentation, locales; each package's copyright file stays.
"""
