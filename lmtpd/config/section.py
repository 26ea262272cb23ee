"""What all tables of the configuration have in common."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

from lmtpd.config import values

PathText = Annotated[str, BeforeValidator(values.path)]
Switch = Annotated[bool, BeforeValidator(values.switch)]


class Section(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    def shown(self, name: str) -> object:
        """Return the value of a key as `lmtpd check` shows it."""
        return getattr(self, name)
