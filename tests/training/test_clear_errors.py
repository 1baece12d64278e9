"""Errors of torch that a person can mend, in words."""

import pytest
import torch
from torch.utils.data import DataLoader, Dataset
from vita_clip_hf.modeling.video_reading_vita_clip import VideoReadError

from vita_clip_hf.training.clear_errors import WorkerLostError, clear_errors


class Broken(Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        try:
            raise ValueError("first: cause")
        except ValueError as error:
            raise VideoReadError("a folder/bad: name.mp4: is empty (0 bytes)") from error


def test_a_video_that_a_worker_could_not_read_is_named_without_the_workers_traceback():
    with pytest.raises(VideoReadError) as caught, clear_errors(1):
        list(DataLoader(Broken(), num_workers=1))
    assert str(caught.value) == "a folder/bad: name.mp4: is empty (0 bytes)"


def lose_a_worker_twice():
    try:
        with clear_errors(1):
            raise EOFError
    except WorkerLostError as error:
        raise RuntimeError("DataLoader worker (pid 3) is killed by signal: Killed.") from error


def test_a_signal_that_comes_while_a_lost_worker_is_told_of_is_told_as_well():
    told = r"ended from outside \(DataLoader worker \(pid 3\) is killed"
    with pytest.raises(WorkerLostError, match=told), clear_errors(1):
        lose_a_worker_twice()


def test_a_lost_worker_is_told_of_once():
    with pytest.raises(WorkerLostError) as caught, clear_errors(1), clear_errors(1):
        raise RuntimeError("DataLoader worker (pid 3) is killed by signal: Killed.")
    assert str(caught.value).count("ended from outside") == 1


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "),
        RuntimeError("DataLoader worker (pid(s) 7, 8) exited unexpectedly"),
        ConnectionResetError(104, "Connection reset by peer"),
        EOFError(),
        FileNotFoundError(2, "No such file or directory"),
    ],
)
def test_a_lost_worker_is_told_with_the_remedy(error):
    with pytest.raises(WorkerLostError, match=r"ended from outside \(.+\).*--dataloader_num_workers"), clear_errors(2):
        raise error


@pytest.mark.parametrize(
    ("error", "workers"),
    [
        (RuntimeError("shapes do not fit"), 2),
        (ConnectionResetError("of the Hub"), 0),
        (FileNotFoundError(2, "No such file", "x.mp4"), 2),
    ],
)
def test_other_errors_stay_as_they_are(error, workers):
    with pytest.raises(type(error)) as caught, clear_errors(workers):
        raise error
    assert caught.value is error


def test_a_full_memory_of_the_device_is_told_with_the_remedy():
    with pytest.raises(OSError, match=r"memory is full: tried 3 GiB.*per_device_train_batch_size"), clear_errors():
        raise torch.OutOfMemoryError("tried 3 GiB\nmore")
