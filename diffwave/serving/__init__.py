"""The vocoder as a small HTTP service."""


def check_installed() -> None:
    """Say in one line what to install; raises ImportError."""
    for module in ("fastapi", "uvicorn", "prometheus_client"):
        try:
            __import__(module)
        except ImportError as error:
            raise ImportError(f"needs the package {module}: pip install 'diffwave-vocoder[serve]'") from error
