"""The Lua scripts in `lua/`: what has to happen in Redis at one moment."""

from importlib.resources import files

SHARED = ("replacing", "reading")  # functions that all of them may call


def lua(name: str) -> str:
    scripts = files(__package__) / "lua"
    return "".join((scripts / f"{part}.lua").read_text() for part in (*SHARED, name))
