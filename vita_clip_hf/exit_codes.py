"""What a command line tells its caller: an exit code, and one line instead of a traceback."""

import contextlib
import gc
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator

DEBUG_VARIABLE = "VITA_CLIP_DEBUG"
# What a user can mend. UnicodeError is a ValueError too, but says nothing to who did not write the code.
_EXPECTED = (OSError, ValueError, ImportError)


def exit_code_of(prog: str, run: Callable[[], int | None]) -> int:
    """
    Runs a command and reports how it ended; nothing but `SystemExit` leaves it.

    Args:
        prog: the command's name, such as "vita-clip predict"; messages on stderr start with it.
        run: the command. It returns an exit code, or `None` for success.

    Returns:
        `run`'s own code; 1 after an error, 130 after Ctrl-C. With `VITA_CLIP_DEBUG=1` in the environment the traceback
        stands above the message.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names that their encoding lacks are printed as escapes
    try:
        with _interrupts_repeated():
            code = run() or 0
        sys.stdout.flush()
        return code
    except SystemExit:
        raise
    except KeyboardInterrupt:
        code, line = 130, "interrupted"
        _print_traceback_if_asked()
    except BrokenPipeError:
        # Whoever read the output has closed it, as `head` does. At exit Python flushes once more, and would complain.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except BaseException as error:  # extensions in Rust panic past Exception
        code, line = 1, _line_for(error)
        _print_traceback_if_asked()
    # The error is gone here, and with it the progress bar that it cut short: the bar's line ends before the message.
    gc.collect()
    print(f"{prog}: {line}", file=sys.stderr)
    return code


@contextlib.contextmanager
def _interrupts_repeated() -> Iterator[None]:
    """Python drops a Ctrl-C that comes while it runs a destructor, and goes on: here it comes once more."""

    def hook(dropped: "sys.UnraisableHookArgs") -> None:
        if dropped.exc_type is not KeyboardInterrupt:
            former(dropped)
            return
        again = threading.Timer(0.1, _interrupt_main_thread)
        again.daemon = True
        again.start()

    former, sys.unraisablehook = sys.unraisablehook, hook
    try:
        yield
    finally:
        sys.unraisablehook = former


def _interrupt_main_thread() -> None:
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:  # on Windows
        signal.raise_signal(signal.SIGINT)


def _print_traceback_if_asked() -> None:
    if os.environ.get(DEBUG_VARIABLE, "0") not in ("", "0"):
        traceback.print_exc()


def _line_for(error: BaseException) -> str:
    name = type(error).__name__
    message = " ".join(str(error).split()) or name
    if isinstance(error, _EXPECTED) and not isinstance(error, UnicodeError):
        return message
    if isinstance(error, MemoryError) or name == "OutOfMemoryError":  # the second is torch's, of a GPU
        return f"out of memory ({message}); a smaller batch, fewer views or another device needs less"
    return f"unexpected {name}: {message}. Set {DEBUG_VARIABLE}=1 for the traceback, and please report it."


__all__ = ["DEBUG_VARIABLE", "exit_code_of"]
