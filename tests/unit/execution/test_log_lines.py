import io
import subprocess
import sys
import textwrap
import threading

from order_engine.execution.log_lines import LINES_MAX, LogLines
from support.waiting import wait_until


class Stream(io.StringIO):
    """Counts the calls that write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)


def test_lines_are_written_in_order_and_together() -> None:
    stream = Stream()
    lines = LogLines(stream)
    for n in range(1_000):
        lines.info(f"line {n}")

    wait_until(lambda: stream.getvalue().count("\n") == 1_000, timeout_s=10)
    assert stream.getvalue() == "".join(f"line {n}\n" for n in range(1_000))
    assert stream.writes < 100


def test_lines_are_written_again_after_a_pause() -> None:
    stream = Stream()
    lines = LogLines(stream)
    for n in range(3):
        lines.info(f"line {n}")
        wait_until(lambda: stream.getvalue().endswith(f"line {n}\n"), timeout_s=10)  # noqa: B023 - called at once


def test_a_warning_is_written_at_once_after_the_lines_before_it() -> None:
    stream = Stream()
    lines = LogLines(stream)
    lines.info("first")
    lines.warning("second")

    assert stream.getvalue() == "first\nsecond\n"


def test_no_more_than_lines_max_wait() -> None:
    stream = Stream()
    lines = LogLines(stream)
    for n in range(3 * LINES_MAX):
        lines.debug(f"line {n}")

    assert stream.getvalue().count("\n") >= 2 * LINES_MAX


def test_lines_of_several_threads_stay_whole() -> None:
    stream = Stream()
    lines = LogLines(stream)
    threads = [
        threading.Thread(target=lambda: list(map(lines.info, ["x" * 50] * 500))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines.flush()

    assert set(stream.getvalue().splitlines()) == {"x" * 50}
    assert stream.getvalue().count("\n") == 2_000


def test_the_lines_that_wait_are_written_when_the_process_ends() -> None:
    program = """
    import sys
    from order_engine.execution.log_lines import LogLines

    LogLines(sys.stdout).info("the last line")
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, check=True
    )

    assert ended.stdout == b"the last line\n"
