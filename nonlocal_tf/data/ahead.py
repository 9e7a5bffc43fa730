"""What is made in threads, a little before it is wanted."""

import collections
import concurrent.futures


def ahead(make, items, workers, most):
    """Yields `make(item)` of each item, in their order.

    The order, and what is made, do not depend on the number of threads. An
    error is raised in its turn. Close it to end it early.

    Args:
      make: a function, called in threads.
      items: an iterable.
      workers: threads.
      most: results that may be there, or in the making, before they are
        wanted.
    """
    waiting = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(make, item))
                if len(waiting) > most:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for each in waiting:
                each.cancel()
