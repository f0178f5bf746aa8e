"""Whether an export contains the edit: reloaded, compared with the base and with the preview."""

from .result import Verification
from .second_model import NotCheckedError, check_room
from .verify import verify_export

__all__ = ["NotCheckedError", "Verification", "check_room", "verify_export"]
