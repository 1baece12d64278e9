"""How a training of several processes ends."""

import gc

from accelerate import PartialState


def close_process_group() -> None:
    """
    Leaves the group of processes, if there is one. To be called once no trainer is held any more.

    Left to the interpreter's end, the group's threads may outlive what they need, and the process aborts. What
    DistributedDataParallel keeps of the group has to go before: it may be the last to hold it, and then waits for
    those threads with Python's lock, for which they may be waiting themselves (seen with torch 2.11 and Gloo).
    """
    gc.collect()  # trainers and their callbacks hold each other
    PartialState().destroy_process_group()
