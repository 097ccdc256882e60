import json
import os
import subprocess
import sys
import textwrap

import pytest

from order_engine.execution.logs import redacted

KEY_ID, KEY_SECRET = "0123456789abcdef", "5ec7e7" * 10 + "beef"
SECRET = "hush-hush"  # noqa: S105


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        (
            "to postgresql://user:hush-hush@host:5432/name",
            "to postgresql://user:***@host:5432/name",
        ),
        ("rediss://:hush-hush@host/0", "rediss://:***@host/0"),
        (
            "redis://user:hush-hush@a,redis://user:hush-hush@b",
            "redis://user:***@a,redis://user:***@b",
        ),
        ("postgresql://user:hush@hush-hush@host/name", "postgresql://user:***@host/name"),
        ("postgresql://user:hush/hush-hush@host/name", "postgresql://user:***@host/name"),
        ("postgresql://user:hush-hush%40@[::1]:5432/x", "postgresql://user:***@[::1]:5432/x"),
        (
            "postgresql://host/name?user=me&password=hush-hush&x=y",
            "postgresql://host/name?user=me&password=***&x=y",
        ),
        ("?sslpassword=hush-hush", "?sslpassword=***"),
        ("?ssl_password=hush-hush", "?ssl_password=***"),
        ("host=h password=hush-hush user=u", "host=h password=*** user=u"),
        ("host=h password='hush-hush' user=u", "host=h password='***' user=u"),
        ("{'password': 'hush-hush', 'db': 0}", "{'password': '***', 'db': 0}"),
        (f"Bearer oe_{KEY_ID}_{KEY_SECRET}", f"Bearer oe_{KEY_ID}_***"),
        (f"?token=oest_{KEY_SECRET}&after=1", "?token=oest_***&after=1"),
    ],
)
def test_a_secret_is_masked(line: str, masked: str) -> None:
    assert redacted(line) == masked


@pytest.mark.parametrize("text", ['a "quoted" hush-hush', "back\\slash"])
def test_a_secret_that_json_escapes_is_masked_whole(text: str) -> None:
    line = redacted(json.dumps({"event": f"postgresql://user:{text.replace(' ', '')}@host/name"}))

    assert json.loads(line) == {"event": "postgresql://user:***@host/name"}


@pytest.mark.parametrize(
    "text",
    [
        "order moved",
        "http://127.0.0.1:3000/api/orders",
        "redis://host:6379/0",
        "postgresql://user@host/name",
        "wss://host:3000/api/orders/1/stream?after=3",
        'FATAL: password authentication failed for user "engine"',
        "fe_sendauth: no password supplied",
        "signature 5ec7e75ec7e75ec7e75ec7e75ec7e75ec7e75ec7e75ec7e75ec7e75ec7e7beef",
        f"oe_{KEY_ID}",
    ],
)
def test_a_line_without_a_secret_is_unchanged(text: str) -> None:
    assert redacted(text) == text


def test_a_very_long_line_is_redacted_quickly() -> None:
    text = "://a:" * 200_000  # a quadratic pattern would take hours

    assert redacted(text) == text


LOGGED = {
    "an event's field": "log.warning('called', error='redis://u:hush-hush@h: refused')",
    "a field within a field": "log.warning('called', given={'url': ['redis://u:hush-hush@h']})",
    "the sentence": "log.warning('called redis://u:hush-hush@h')",
    "another library's record": "logging.getLogger('x').error('redis://u:%s@h', 'hush-hush')",
    "the text of an error": "fail('redis://u:hush-hush@h', log)",
    "a local variable of an error": "fail('refused', log)",
    "the error that ends the process": "raise ValueError('redis://u:hush-hush@h')",
    "the error that ends a thread": "end_thread()",
}


@pytest.mark.parametrize("statement", LOGGED.values(), ids=LOGGED.keys())
def test_no_log_line_contains_the_secret(statement: str) -> None:
    lines = logged(statement)

    assert lines
    assert all({"event", "level", "deployable", "timestamp"} <= line.keys() for line in lines)
    assert SECRET not in json.dumps(lines)


def logged(statement: str) -> list[dict[str, object]]:
    """The log lines of a process that runs the statement."""
    program = textwrap.dedent(
        f"""
        import logging, threading
        import structlog
        from order_engine.execution.logs import configure_logs

        def fail(text, log):
            password = {SECRET!r}
            try:
                raise ValueError(text)
            except ValueError:
                log.exception("failed")

        def end_thread():
            def refuse():
                raise ValueError("redis://u:hush-hush@h")
            thread = threading.Thread(target=refuse)
            thread.start()
            thread.join()

        configure_logs(level="DEBUG", deployable="test")
        log = structlog.get_logger()
        {statement}
        """
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ.copy(),  # noqa: TID251 - for the interpreter
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ran.stderr == ""
    return [json.loads(line) for line in ran.stdout.splitlines()]
