class ImagesError(Exception):
    """An image can't be built or served; the message says what to do next."""
