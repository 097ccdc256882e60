"""Loads the Lua scripts in `lua/`: steps that Redis must run atomically."""

from importlib.resources import files

SHARED = ("job_fields", "call_with_all")  # functions that every script may call


def lua(*names: str) -> str:
    """The script of these parts, in this order. The last part acts; the others define functions."""
    scripts = files(__package__) / "lua"
    return "".join((scripts / f"{part}.lua").read_text() for part in (*SHARED, *names))
