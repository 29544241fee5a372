"""Asking the Hugging Face Hub: every way in which that can fail, as one line that says what to do.

Nothing here runs unless somebody named a repository: playing, measuring and testing need no network.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from engines.errors import Unreachable


@contextmanager
def asking(what: str, fix: str = "") -> Iterator[None]:
    """Turn the client's errors inside this block into `Unreachable`, about `what`."""
    from huggingface_hub import errors  # noqa: PLC0415 - a second, and only where the Hub is wanted

    try:
        yield
    except errors.GatedRepoError as error:
        raise Unreachable(f"{what} is open only to those who accepted its terms",
                          "Accept them on its page and log in with `hf auth login`, or name another.") from error
    except errors.RepositoryNotFoundError as error:
        raise Unreachable(f"{what} is not on the Hub", "Check the spelling of ORG/NAME." + f" {fix}".rstrip()
                          ) from error
    except errors.RevisionNotFoundError as error:
        raise Unreachable(f"{what} has no such revision", "Name a commit, branch or tag that its page lists."
                          ) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, errors.HTTPError, OSError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        why = f"the Hub answered {status}" if status else "there is no network, or the Hub does not answer"
        raise Unreachable(f"{what} cannot be fetched: {why}", fix or "Try again later, or name a local folder."
                          ) from error
