"""A pipeline to see a new installation work: ``milepost start hello '{"name": "Ada"}' --watch``."""

from pydantic import BaseModel

from milepost.tasks import Context, Milepost

app = Milepost()
hello = app.pipeline("hello")


class Greeting(BaseModel):
    """Whom to greet, and what came of it."""

    name: str
    text: str = ""


@hello.stage
def write(state: Greeting) -> Greeting:
    """Write the greeting."""
    return state.model_copy(update={"text": f"Hello, {state.name}!"})


@hello.stage
def say(state: Greeting, ctx: Context) -> Greeting:
    """Say it, in the worker's log."""
    ctx.log.warning(state.text)
    return state
