r"""
---
title: Downloads
summary: A file is downloaded once, beside its place, and takes it when its checksum is right.
---

# Downloads

A download can break off, or bring an error page with the status of a success. `pooch`
writes beside the final place, compares the checksum and only then renames, so a file in
the cache is always whole.
"""

from pathlib import Path

from papers.common.data.registry import Forms, expected, source
from papers.common.errors import UserError


def cache_folder() -> Path:
    r"""
    The cache of the person, not of the project: a second clone downloads nothing.
    """
    import pooch

    return Path(pooch.os_cache("annotated-papers"))


def download(name: str, forms: Forms) -> Path:
    r"""
    ## Once, and three times more if it fails

    A broken connection and a wrong answer are tried again, after one, two and three
    seconds.
    """
    form = source(forms)
    if form is None or form.url is None:
        raise UserError(
            f"{name} has no address to download it from: set PAPERS_DATA to a folder that "
            f"holds it; {expected(forms)}"
        )
    # Imported here: who trains on what the install brought never waits for them.
    import pooch
    from tqdm import tqdm

    fetcher = pooch.create(
        path=cache_folder(),
        base_url="",
        registry={name: f"sha256:{form.sha256}"},
        urls={name: form.url},
        retry_if_failed=3,
    )
    # `disable=None` draws the bar on a terminal only, so that logs stay readable.
    # The total is the server's to say; until then any number but 0, which is no bar.
    bar = tqdm(desc=name, total=1, unit="B", unit_scale=True, leave=False, disable=None)
    try:
        downloader = pooch.HTTPDownloader(progressbar=bar, chunk_size=2**16)
        return Path(fetcher.fetch(name, downloader=downloader))
    except (OSError, ValueError) as problem:
        cause = " ".join(str(problem).split())
        raise UserError(
            f"{form.url} could not be downloaded ({cause}): try again, or set PAPERS_DATA to a "
            f"folder that holds {name}; expected {form}"
        ) from None
    finally:
        bar.close()
