"""The features of clips, which questions, statements and captions need and an index has not.

They are those of a dataset, or of a film that is decoded again; a few are kept.
"""

import asyncio
import collections
from collections.abc import Callable

from data.errors import InputError
from data.schema import Clip
from hero_jax.inference.model import Model
from hero_jax.inference.windows import clip_of_window, windows
from hero_jax.search.pictures import Pictures
from hero_jax.search.server.catalog import ListedFilm

# Clips of a dataset, or whole films, that are kept.
KEPT = 8
# Returns the whole clip that an id names a window of, None if it is not there. It may take long.
Read = Callable[[ListedFilm, str], Clip | None]


class Contents:
    """Clips of an index with their features; all methods are called in one event loop."""

    def __init__(self, model: Model, read: Read):
        """Takes the function that reads a clip, which is called in threads."""
        self._model, self._read = model, read
        self._clips: collections.OrderedDict[str, asyncio.Task] = collections.OrderedDict()
        # One film is decoded at a time: that takes all cores.
        self._one = asyncio.Semaphore(1)

    async def window(self, film: ListedFilm, clip_id: str) -> tuple[Clip, float]:
        """Returns a clip of a film, and the second of its video at which it begins.

        What is read for a request that does not wait any longer is kept for the next one.

        Raises:
          InputError: its content is not there, or no longer what was indexed.
        """
        name = clip_of_window(clip_id)
        task = self._clips.get(name)
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            task = asyncio.get_running_loop().create_task(self._whole(film, name))
            self._clips[name] = task
        self._clips.move_to_end(name)
        while len(self._clips) > KEPT:
            self._clips.popitem(last=False)
        whole = await asyncio.shield(task)
        limit = self._model.exported.batch()["max_frames"]
        seconds = self._model.features.seconds_per_feature
        for window, start in windows(whole, limit, seconds):
            if window.clip_id == clip_id:
                return window, start
        raise InputError(f"clip {clip_id!r} is not as it was indexed: add its film again")

    async def _whole(self, film: ListedFilm, name: str) -> Clip:
        async with self._one:
            clip = await asyncio.to_thread(self._read, film, name)
        if clip is None:
            raise InputError(f"the features of clip {name!r} are not there")
        return clip


def of_dataset(pictures: Pictures) -> Read:
    """Returns a function that reads clips of a dataset."""
    return lambda film, name: pictures.clip(name)
