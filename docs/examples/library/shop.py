"""What the pages tell of a shop: the application says, and the library knows nothing of it."""

import asyncio
import shutil

from statuspages import StatusPages

ORDERS = ["a teapot", "two cups"]


def disk() -> None:
    if shutil.disk_usage(".").free < 1_000_000:
        raise RuntimeError("less than a megabyte is free")


async def supplier() -> None:
    """Stand for a request to another service, which raises where that is not to be had."""
    await asyncio.sleep(0.01)


status = StatusPages(checks={"disk": disk, "supplier": supplier}, gauges={"orders_waiting": lambda: len(ORDERS)})
