"""The end of a training of several processes."""

import gc

from accelerate import PartialState


def close_process_group() -> None:
    """
    Leaves the group of processes, if there is one. Call it when no trainer is held any more.

    A group that is left to the interpreter's end has threads that may outlive the objects they use, and the process
    aborts. `DistributedDataParallel` holds the group too, and has to be deleted first: as its last holder it would
    wait for those threads while it has Python's lock, for which they may be waiting (torch 2.11 and Gloo).
    """
    gc.collect()  # trainers and their callbacks hold each other
    PartialState().destroy_process_group()
