"""Where settings come from: the environment, then the file `.env`."""

import os
import string
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

BLANKS = string.whitespace + "\ufeff\xa0"  # with the marks that editors and web pages leave


class EngineSettings(BaseSettings):
    """Read from the environment, then from `.env`. White space around a value does not count, and an
    empty variable counts as unset.
    """

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8-sig",  # editors on Windows begin a file with a mark
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _stripped(cls, values: dict[str, object]) -> dict[str, object]:
        stripped = {
            name: value.strip(BLANKS) if isinstance(value, str) else value
            for name, value in values.items()
        }
        given = {name: value for name, value in stripped.items() if value != "" or not values[name]}
        return cls.counting(given)

    @classmethod
    def counting(cls, values: dict[str, object]) -> dict[str, object]:
        """The values that are read: those that no other one overrules."""
        return values


Read = TypeVar("Read", bound=EngineSettings)


def read_settings(kind: type[Read]) -> Read:
    """The settings from the environment and `.env`. Raises SystemExit with one line on a wrong one."""
    try:
        _check_file(Path(str(kind.model_config["env_file"])))
        return kind()
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SystemExit(f"cannot start: .env cannot be read: {why}") from None
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']).upper() or 'settings'}: {_message(fault['msg'])}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        raise SystemExit(f"cannot start: {wrong}") from None


def _message(text: str) -> str:
    return text.removeprefix("Value error, ")


def _check_file(path: Path) -> None:
    """Raises OSError or UnicodeError when a file is there and cannot be read, which is ignored else."""
    if os.path.lexists(path) and "\0" in path.read_text(encoding="utf-8-sig"):
        raise UnicodeError("UTF-16 without a mark")
